//! The pure part: a request read, judged, its body judged, and rewritten, as the managed side's agent does it
//! in view-only access.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use adit_core::domain::access::Access;
use adit_mirth::body::{self, BodyKind, Judging};
use adit_mirth::http::{BodyWriter, Framing, RequestHead, RequestPart, RequestReader};
use adit_mirth::verdict::{AccessPolicy, Judge, Verdict};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::BytesMut;

use crate::timer::Timer;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// PERFORMANCE's aim, in microseconds.
const AIM_MICROS: f64 = 20.0;

/// Prints a table of microseconds a request.
pub(crate) fn measure(timer: &Timer) -> Result<()> {
    let version = "4.5.2".parse().context("a constant that is a version")?;
    let policy = AccessPolicy { access: Access::ReadOnly, hide: BTreeSet::new(), show: BTreeSet::new() };
    let judge = Judge::new(policy, "/", Some(&version), &[]);
    println!("| view-only, pure code | bytes | µs a request | aim µs |\n|---|---:|---:|---:|");
    for (name, request) in samples() {
        let mut filter = Filter::new(&judge);
        filter.pass(&request).with_context(|| format!("the filter does not pass: {name}"))?;
        let micros = timer.nanoseconds(|| filter.pass(&request).is_ok()) / 1e3;
        println!("| {name} | {} | {micros:.2} | {AIM_MICROS} |", request.len());
    }
    dicom_view(timer)
}

/// The connector message of an image of 8 MB, as it comes in pieces, with its maps left out.
fn dicom_view(timer: &Timer) -> Result<()> {
    const MESSAGE: &str = include_str!("../../src/mirth/data/dicom-view-body.xml");
    const PIXELS: &str = "QUJDREVGR0g=";
    let message = MESSAGE.replace(PIXELS, &PIXELS.repeat((8 << 20) * 4 / 3 / PIXELS.len()));
    let reduce = || -> Result<usize> {
        let kind = BodyKind::ConnectorMessage;
        let judging = Judging::new(kind, Some(b"application/xml"), None);
        let mut judging = judging.context("a kind that is judged as it comes")??;
        message.as_bytes().chunks(64 * 1024).try_for_each(|piece| judging.feed(piece))?;
        Ok(judging.finish()?.len())
    };
    let sent_on = reduce()?;
    let seconds = timer.nanoseconds(|| reduce().is_ok()) / 1e9;
    let megabytes = f64::from(u32::try_from(message.len())?) / 1e6;
    println!("\n| DICOM view, pure code | bytes | bytes sent on | MB/s |\n|---|---:|---:|---:|");
    println!("| message of an image of 8 MB | {} | {sent_on} | {:.0} |", message.len(), megabytes / seconds);
    Ok(())
}

/// One connection's state, with its buffers kept from request to request.
struct Filter<'a> {
    judge: &'a Judge,
    reader: RequestReader,
    incoming: BytesMut,
    body: BytesMut,
    outgoing: BytesMut,
}

impl<'a> Filter<'a> {
    fn new(judge: &'a Judge) -> Self {
        let buffer = || BytesMut::with_capacity(64 * 1024);
        Self { judge, reader: RequestReader::new(), incoming: buffer(), body: buffer(), outgoing: buffer() }
    }

    /// Returns the bytes that would go to Mirth.
    fn pass(&mut self, request: &[u8]) -> Result<usize> {
        self.incoming.extend_from_slice(request);
        self.outgoing.clear();
        self.body.clear();
        let mut judged = None;
        loop {
            match self.reader.read(&mut self.incoming)?.context("the request is not whole")? {
                RequestPart::Head(head) => judged = Some(judge(self.judge, head)?),
                RequestPart::Data(data) => self.body.extend_from_slice(&data),
                RequestPart::End => break,
            }
        }
        let (head, target, kind) = judged.context("a request without a head")?;
        let body = body::judge(kind, head.header("content-type"), &self.body)?;
        let framing = if kind == BodyKind::None { Framing::None } else { Framing::Length(body.len() as u64) };
        head.write(&target, framing, CLIENT, &mut self.outgoing);
        let mut writer = BodyWriter::new(framing);
        writer.data(&body, &mut self.outgoing);
        self.outgoing.extend_from_slice(&body);
        writer.end(&mut self.outgoing);
        ensure!(self.incoming.is_empty(), "something was left over");
        Ok(self.outgoing.len())
    }
}

fn judge(judge: &Judge, head: RequestHead) -> Result<(RequestHead, String, BodyKind)> {
    match judge.judge(&head) {
        Verdict::Forward { target, body, .. } => Ok((head, target, body)),
        Verdict::Answer { status, .. } => bail!("it was answered with {status}"),
        Verdict::Refuse { refusal, .. } => bail!("it was refused: {refusal}"),
    }
}

/// As the Administrator sends them.
fn samples() -> [(&'static str, Vec<u8>); 4] {
    let filter = "<messageFilter><maxMessageId>4711</maxMessageId><startDate><time>1795455204414</time>\
        <timezone>Etc/UTC</timezone></startDate><textSearch>Miller</textSearch>\
        <textSearchRegex>false</textSearchRegex><statuses>\
        <com.mirth.connect.donkey.model.message.Status>SENT</com.mirth.connect.donkey.model.message.Status>\
        <com.mirth.connect.donkey.model.message.Status>ERROR</com.mirth.connect.donkey.model.message.Status>\
        </statuses><attachment>false</attachment><error>false</error></messageFilter>";
    let search = "/api/4.5.2/channels/3f2504e0-4f89-41d3-9a0c-0305e82c3301/messages/_search?includeContent=false&offset=0&limit=21";
    [
        ("GET poll, 12 headers", request("GET /api/4.5.2/channels/statuses", None, "")),
        (
            "POST _getSummary, empty map",
            request("POST /api/4.5.2/channels/_getSummary", Some("application/xml"), "<map/>"),
        ),
        ("POST messages/_search", request(&format!("POST {search}"), Some("application/xml"), filter)),
        (
            "POST login, chunked",
            request(
                "POST /api/4.5.2/users/_login",
                Some("application/x-www-form-urlencoded"),
                "username=partner&password=correct%20horse",
            ),
        ),
    ]
}

/// Twelve headers where there is no body; a form is chunked, as the clients send it.
fn request(line: &str, content_type: Option<&str>, body: &str) -> Vec<u8> {
    let rest = match content_type {
        None => "\r\n".into(),
        Some(form) if form.ends_with("urlencoded") => format!(
            "Content-Type: {form}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ),
        Some(other) => format!("Content-Type: {other}\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
    };
    let head = format!(
        "{line} HTTP/1.1\r\n\
         Host: 127.0.0.1:8443\r\n\
         User-Agent: Jersey/2.35 (Apache HttpClient 4.5.13)\r\n\
         Accept: application/xml\r\n\
         Accept: text/plain\r\n\
         Accept-Language: en-GB,en;q=0.9\r\n\
         Cache-Control: no-cache\r\n\
         Pragma: no-cache\r\n\
         X-Requested-With: OpenAPI\r\n\
         X-Mirth-Server-Url: https://127.0.0.1:8443\r\n\
         Cookie: JSESSIONID=node0v8l0u0n1c5kq1m3k7w2h9d0x71.node0; JSESSIONID=node01abcdef0.node0\r\n\
         Cookie2: $Version=1\r\n\
         Connection: keep-alive\r\n"
    );
    (head + &rest).into_bytes()
}
