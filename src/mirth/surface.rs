//! What a view-only partner may fetch besides the API: pages, client jars and the dashboard of
//! `mirth-other-surface.tsv`, narrowed to what clients ask for. No folder is listed.

use super::body::BodyKind;

use Names::{Exactly, Files, Jars, One, Plain};

/// One kind of page.
#[derive(Debug)]
pub(crate) struct Page {
    /// For audit and explain.
    pub template: &'static str,
    pub methods: &'static [&'static str],
    pub body: BodyKind,
    /// The only query parameters it takes; none: any, as nobody reads them.
    pub parameters: Option<&'static [&'static str]>,
    folder: &'static [&'static str],
    names: Names,
}

/// What may follow the folder.
#[derive(Debug)]
enum Names {
    /// Nothing, with a trailing slash or without.
    Exactly,
    /// One name with one of these endings.
    One(&'static [&'static str]),
    /// Folders and a file of a web page.
    Files,
    /// Folders and a jar: the whole extensions folder is there, with what is no client's business.
    Jars,
    /// Folders and any plain name.
    Plain,
}

/// A page asks for the head alone to learn whether another is there.
const READ: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];
/// Stripes, which the dashboard is made with, sets what parameters name; this one is its own.
const FLASH: &str = "__fsk";
/// Where a wrong password leads: the page itself reads it, in its script.
const SHOW_ALERT: &str = "showAlert";
/// What a browser fetches for a page. None of them runs on the server.
const FILE_ENDINGS: [&str; 18] = [
    "css", "eot", "gif", "htm", "html", "ico", "jpeg", "jpg", "js", "json", "map", "otf", "png", "svg",
    "ttf", "txt", "woff", "woff2",
];
const JAVA_ENDINGS: &[&str] = &["jar", "jnlp"];

const fn file(template: &'static str, folder: &'static [&'static str], names: Names) -> Page {
    Page { template, methods: READ, body: BodyKind::None, parameters: None, folder, names }
}

const fn action(
    template: &'static str,
    methods: &'static [&'static str],
    folder: &'static [&'static str],
    body: BodyKind,
    parameters: &'static [&'static str],
) -> Page {
    Page { template, methods, body, parameters: Some(parameters), folder, names: Exactly }
}

const fn webstart(template: &'static str, folder: &'static [&'static str]) -> Page {
    let parameters = Some(["maxHeapSize", "time"].as_slice());
    Page { template, methods: READ, body: BodyKind::None, parameters, folder, names: Exactly }
}

/// Below the context path.
static PAGES: [Page; 39] = [
    file("/", &[], Exactly),
    file("/index.html", &["index.html"], Exactly),
    file("/favicon.ico", &["favicon.ico"], Exactly),
    file("/css/**", &["css"], Files),
    file("/js/**", &["js"], Files),
    file("/images/**", &["images"], Files),
    file("/img/**", &["img"], Files),
    file("/fonts/**", &["fonts"], Files),
    // The landing page's style asks for its pictures here.
    file("/bootstrap/img/**", &["bootstrap", "img"], Files),
    file("/webadmin", &["webadmin"], Exactly),
    file("/webadmin/index.html", &["webadmin", "index.html"], Exactly),
    file("/webadmin/css/**", &["webadmin", "css"], Files),
    file("/webadmin/js/**", &["webadmin", "js"], Files),
    file("/webadmin/images/**", &["webadmin", "images"], Files),
    file("/webadmin/fonts/**", &["webadmin", "fonts"], Files),
    action(
        "/webadmin/Index.action",
        READ,
        &["webadmin", "Index.action"],
        BodyKind::None,
        &[SHOW_ALERT, FLASH],
    ),
    action("/webadmin/Index.action", POST, &["webadmin", "Index.action"], BodyKind::None, &[FLASH]),
    action("/webadmin/Login.action", POST, &["webadmin", "Login.action"], BodyKind::WebLogin, &[]),
    action(
        "/webadmin/DashboardStatistics.action",
        READ,
        &["webadmin", "DashboardStatistics.action"],
        BodyKind::None,
        &["getStats", "showLifetimeStats", FLASH],
    ),
    action("/webadmin/Logout.action", READ, &["webadmin", "Logout.action"], BodyKind::None, &[]),
    webstart("/webstart", &["webstart"]),
    webstart("/webstart.jnlp", &["webstart.jnlp"]),
    file("/webstart/client-lib/*", &["webstart", "client-lib"], One(JAVA_ENDINGS)),
    file("/webstart/extensions/*.jnlp", &["webstart", "extensions"], One(&["jnlp"])),
    file("/webstart/extensions/libs/**.jar", &["webstart", "extensions", "libs"], Jars),
    file("/launcher/macos.dmg", &["launcher", "macos.dmg"], Exactly),
    file("/launcher/linux.sh", &["launcher", "linux.sh"], Exactly),
    file("/launcher/windows.exe", &["launcher", "windows.exe"], Exactly),
    file("/launcher/windows-x64.exe", &["launcher", "windows-x64.exe"], Exactly),
    file("/javadocs/**", &["javadocs"], Plain),
    file("/apiexamples/**", &["apiexamples"], Plain),
    file("/api", &["api"], Exactly),
    file("/api/index.html", &["api", "index.html"], Exactly),
    file("/api/css/**", &["api", "css"], Files),
    file("/api/js/**", &["api", "js"], Files),
    file("/api/lib/**", &["api", "lib"], Files),
    file("/api/images/**", &["api", "images"], Files),
    file("/api/fonts/**", &["api", "fonts"], Files),
    file("/api/lang/**", &["api", "lang"], Files),
];

/// Returns the page at these segments; a `slash` after a file or below a folder would ask for a listing.
#[must_use]
pub(crate) fn page(method: &str, segments: &[&str], slash: bool) -> Option<&'static Page> {
    let mut pages = PAGES.iter().filter(|page| page.is_at(segments, slash));
    pages.find(|page| page.methods.contains(&method))
}

/// Returns what this path is called, whatever the method.
#[must_use]
pub(crate) fn template(segments: &[&str], slash: bool) -> Option<&'static str> {
    PAGES.iter().find(|page| page.is_at(segments, slash)).map(|page| page.template)
}

impl Page {
    /// Recognises pages whose requests reach the API behind the agent's back, on the server itself.
    #[must_use]
    pub(crate) fn reaches_api(&self) -> bool {
        self.parameters.is_some() && self.folder.first() == Some(&"webadmin")
    }

    fn is_at(&self, segments: &[&str], slash: bool) -> bool {
        let Some(rest) = segments.strip_prefix(self.folder) else { return false };
        let ends_in = |endings: &[&str]| rest.last().is_some_and(|name| has_ending(name, endings));
        let all_plain = || rest.iter().all(|name| is_plain(name));
        match self.names {
            Exactly => {
                rest.is_empty() && (!slash || !self.folder.last().is_some_and(|name| name.contains('.')))
            }
            One(endings) => !slash && rest.len() == 1 && all_plain() && ends_in(endings),
            Files => !slash && all_plain() && ends_in(&FILE_ENDINGS),
            Jars => !slash && all_plain() && ends_in(&["jar"]),
            Plain => !slash && !rest.is_empty() && all_plain(),
        }
    }
}

/// Returns whether it is neither hidden nor escaped, so that no file system reads it in a second way.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.starts_with('.') && !name.ends_with('.') && name.bytes().all(plain)
}

fn has_ending(name: &str, endings: &[&str]) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(&ending))
}

#[cfg(test)]
mod tests;
