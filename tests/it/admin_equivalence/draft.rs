//! Requests that view-only allows, in parts that can be changed one by one before they are written.

use adit_lab::messages::Draws;

const ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const XML: &str = "application/xml";

/// A request before it is written; nothing holds that it is well formed.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub method: Vec<u8>,
    pub path: Vec<u8>,
    pub query: Option<Vec<u8>>,
    pub version: Vec<u8>,
    /// Names as they are; values with the space around them.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub framing: Wire,
    pub body: Vec<u8>,
    pub line_end: &'static [u8],
}

/// How the body is framed, right or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    None,
    /// The true length and so much.
    Length {
        off_by: i64,
    },
    Chunked(Chunks),
    /// A length and chunks.
    Both(Chunks),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    /// Bytes a chunk; the last may have fewer.
    pub size: usize,
    pub zeros: usize,
    pub is_upper: bool,
    pub extension: &'static [u8],
    pub trailer: &'static [u8],
    pub line_end: &'static [u8],
}

impl Chunks {
    pub(super) fn of(size: usize) -> Self {
        Self { size, line_end: b"\r\n", ..Self::default() }
    }
}

/// What the views of the Administrator ask for, and the dashboard.
const READS: [&str; 24] = [
    "/api/server/version",
    "/api/server/time",
    "/api/channels",
    "/api/channels/",
    "/api/channels/ID",
    "/api/channels/ID/statistics",
    "/api/channels/ID/messages/42",
    "/api/channels/ID/messages/42/attachments/7f3a-1",
    "/api/channels/statuses",
    "/api/channels/statuses/initial",
    "/api/4.5.2/server/version",
    "/api/4.5.2/channels/ID/connectorNames",
    "/api/users/current",
    "/api/users/1/preferences",
    "/api/users/a%40b.example",
    "/api/extensions/Data%20Pruner/properties",
    "/api/events/7",
    "/api/system/stats",
    "/api/codeTemplateLibraries",
    "/api/alerts/statuses",
    "/webstart.jnlp",
    "/webstart/client-lib/mirth-client.jar",
    "/webadmin/Index.action",
    "/",
];

/// Each with its query.
const QUERIES: [(&str, &str); 8] = [
    ("/api/channels", "channelId=ID&pollingOnly=false"),
    ("/api/channels/ID/messages", "textSearch=../../etc;a=b"),
    ("/api/channels/ID/messages", "metaDataSearch=TYPE%20=%20ADT%5eA01&limit=21"),
    ("/api/channels/ID/messages/count", "textSearchMetaDataColumn=SOURCE&textSearch=%C3%A4+x"),
    ("/api/users/1/preferences", "name=columns"),
    ("/api/codeTemplateLibraries", "includeCodeTemplates=false"),
    ("/webstart.jnlp", "maxHeapSize=512m"),
    ("/api/events", "maxEventId=9&name=a%26b&outcome=SUCCESS"),
];

/// Path, type, body.
const POSTS: [(&str, &str, &str); 13] = [
    ("/api/users/_logout", "", ""),
    ("/api/server/_generateGUID", "", ""),
    ("/api/users/_login", "application/x-www-form-urlencoded", "username=partner&password=x%26y"),
    ("/api/4.5.2/users/_login", "application/x-www-form-urlencoded", "username=a&password=%C3%A4"),
    ("/api/users/_checkPassword", "text/plain", "abc"),
    ("/api/channels/_getChannels", XML, "<set><string>ID</string><string>b-2</string></set>"),
    ("/api/channels/_getSummary?ignoreNewChannels=false", XML, "<map/>"),
    (
        "/api/channels/_getSummary",
        XML,
        "<map><entry><string>ID</string><channelHeader><revision>0</revision><codeTemplatesChanged>true</codeTemplatesChanged></channelHeader></entry></map>",
    ),
    ("/api/codeTemplates/_getSummary", XML, "<map><entry><string>ID</string><int>3</int></entry></map>"),
    (
        "/api/channels/_auditAccessedPHIMessage",
        XML,
        "<linked-hash-map><entry><string>channel</string><string>a &amp; b &lt;ü</string></entry></linked-hash-map>",
    ),
    (
        "/api/channels/ID/messages/_search?offset=0&limit=21",
        XML,
        "<messageFilter><maxMessageId>10</maxMessageId><textSearch>z</textSearch><statuses><com.mirth.connect.donkey.model.message.Status>SENT</com.mirth.connect.donkey.model.message.Status></statuses></messageFilter>",
    ),
    (
        "/api/events/_search",
        XML,
        "<eventFilter><levels><com.mirth.connect.model.ServerEvent_-Level>ERROR</com.mirth.connect.model.ServerEvent_-Level></levels><name>Log</name></eventFilter>",
    ),
    (
        "/api/channels/ID/messages/42/_getDICOMMessage",
        XML,
        "<connectorMessage><messageId>42</messageId><metaDataId>0</metaDataId></connectorMessage>",
    ),
];

impl Draft {
    /// One that is allowed as it is.
    pub(super) fn allowed(draws: &mut Draws, host: &str) -> Self {
        match draws.below(10) {
            0..4 => Self::read(draws.pick(&READS), None, host),
            4..6 => {
                let (path, query) = draws.pick(&QUERIES);
                Self::read(path, Some(query), host)
            }
            _ => Self::post(draws, host),
        }
    }

    fn read(path: &str, query: Option<&str>, host: &str) -> Self {
        let method = b"GET".to_vec();
        let query = query.map(with_id);
        Self { method, query, ..Self::bare(path, host) }
    }

    fn post(draws: &mut Draws, host: &str) -> Self {
        let (target, kind, body) = draws.pick(&POSTS);
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut draft = Self::bare(path, host);
        draft.query = query.map(with_id);
        draft.body = with_id(body);
        if !kind.is_empty() {
            draft.headers.push((b"Content-Type".to_vec(), format!(" {kind}").into_bytes()));
        }
        draft.framing = match draws.below(3) {
            0 if !body.is_empty() => Wire::Chunked(Chunks::of(1 + index(draws, 64))),
            _ => Wire::Length { off_by: 0 },
        };
        Self { method: b"POST".to_vec(), ..draft }
    }

    fn bare(path: &str, host: &str) -> Self {
        let header = |name: &str, value: &str| (name.into(), format!(" {value}").into_bytes());
        Self {
            method: Vec::new(),
            path: with_id(path),
            query: None,
            version: b"HTTP/1.1".to_vec(),
            headers: vec![header("Host", host), header("X-Requested-With", "OpenAPI")],
            framing: Wire::None,
            body: Vec::new(),
            line_end: b"\r\n",
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = self.method.clone();
        out.push(b' ');
        out.extend(&self.path);
        if let Some(query) = &self.query {
            out.push(b'?');
            out.extend(query);
        }
        out.push(b' ');
        out.extend(&self.version);
        out.extend(self.line_end);
        for (name, value) in &self.headers {
            for part in [name, &b":"[..], value, self.line_end] {
                out.extend(part);
            }
        }
        self.framing.write(&self.body, self.line_end, &mut out);
        out
    }
}

impl Wire {
    /// Its headers, the end of the head, and the body.
    fn write(&self, body: &[u8], line_end: &[u8], out: &mut Vec<u8>) {
        let (length, chunks) = match self {
            Self::None => (None, None),
            Self::Length { off_by } => (Some(*off_by), None),
            Self::Chunked(chunks) => (None, Some(chunks)),
            Self::Both(chunks) => (Some(0), Some(chunks)),
        };
        if let Some(off_by) = length {
            let length = i64::try_from(body.len()).unwrap() + off_by;
            out.extend(format!("Content-Length: {length}").as_bytes());
            out.extend(line_end);
        }
        if chunks.is_some() {
            out.extend(b"Transfer-Encoding: chunked");
            out.extend(line_end);
        }
        out.extend(line_end);
        match chunks {
            Some(chunks) => chunks.write(body, out),
            None => out.extend(body),
        }
    }
}

impl Chunks {
    fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        for chunk in body.chunks(self.size.max(1)) {
            self.write_size(chunk.len(), out);
            out.extend(chunk);
            out.extend(self.line_end);
        }
        self.write_size(0, out);
        out.extend(self.trailer);
        out.extend(self.line_end);
    }

    fn write_size(&self, size: usize, out: &mut Vec<u8>) {
        let hex = if self.is_upper { format!("{size:X}") } else { format!("{size:x}") };
        out.extend("0".repeat(self.zeros).as_bytes());
        out.extend(hex.as_bytes());
        out.extend(self.extension);
        out.extend(self.line_end);
    }
}

fn with_id(text: &str) -> Vec<u8> {
    text.replace("ID", ID).into_bytes()
}

/// A draw below `end` as an index.
pub(super) fn index(draws: &mut Draws, end: usize) -> usize {
    usize::try_from(draws.below(end as u64)).expect("it is below a usize")
}
