//! A Jetty 9.4 as a child process, and what it parsed of each request.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;

const LIBRARIES: [&str; 7] = ["server", "http", "io", "util", "servlet", "security", "servlet-api"];
const MISSING: &str =
    "Java and Jetty; run `tests/run.sh`, or: apt-get install default-jdk-headless libjetty9-java";

/// One request as Jetty had it after parsing, or what Jetty itself refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Record {
    Request(Hit),
    Failure(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Hit {
    pub id: u64,
    /// The port of the connection's other end.
    pub peer: u16,
    pub method: String,
    pub version: String,
    /// Raw path and query.
    pub target: String,
    pub fragment: Option<String>,
    /// The path without parameters, decoded and resolved, as a servlet of Jetty would take it.
    pub decoded: String,
    /// The view-only rule that matches method and raw path, by Java's regular expressions.
    pub operation: Option<String>,
    /// In order. Jetty spells names it knows in its own way, and some well-known values.
    pub headers: Vec<(String, String)>,
    /// The first MiB.
    #[serde(with = "hex::serde")]
    pub body: Vec<u8>,
    pub length: u64,
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Failure {
    pub id: u64,
    pub peer: u16,
    pub reason: String,
}

impl Record {
    pub(crate) fn peer(&self) -> u16 {
        match self {
            Self::Request(hit) => hit.peer,
            Self::Failure(failure) => failure.peer,
        }
    }

    /// Whether the managed agent asked by itself: for nobody, or whether there is a channel.
    pub(crate) fn is_own_question(&self) -> bool {
        match self {
            Self::Request(hit) => {
                hit.values("X-Forwarded-For").next().is_none()
                    || hit.target.contains("/messages/maxMessageId")
            }
            Self::Failure(_) => false,
        }
    }
}

impl Hit {
    /// The values of a header, a byte a character.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_named = move |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.headers.iter().filter(is_named).map(|(_, value)| value.as_str())
    }
}

pub(crate) struct Jetty {
    child: Child,
    // Jetty ends when this does, also when the test's process is killed.
    _lifeline: ChildStdin,
    control: BufReader<TcpStream>,
    pub address: SocketAddr,
}

impl Jetty {
    /// Without TLS, as it stands behind a tap.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With TLS as Mirth has it: an RSA leaf of a private CA, no subject alternative name, no ALPN.
    pub(crate) fn start_tls(folder: &Path) -> Self {
        let store = make_keystore(folder);
        Self::start_with(&["--tls", store.to_str().unwrap(), "--password", PASSWORD])
    }

    fn start_with(more: &[&str]) -> Self {
        let mut command = java("Recorder");
        command.arg("--rules").arg(repository().join("src/mirth/data/mirth-read-only-rules.tsv"));
        command.arg("--wadl").arg(sources().join("application.wadl"));
        let mut child =
            command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(MISSING);
        let mut says = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut port = || says.next().expect("Jetty starts").unwrap().parse::<u16>().unwrap();
        let [serves, control_port] =
            [port(), port()].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let control = TcpStream::connect(control_port).unwrap();
        control.set_nodelay(true).unwrap();
        Self {
            _lifeline: child.stdin.take().unwrap(),
            child,
            control: BufReader::new(control),
            address: serves,
        }
    }

    /// Everything since the last time. What has been answered is in it.
    pub(crate) fn take(&mut self) -> Vec<Record> {
        self.order("take").iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Lets one request to `/slow` go on.
    pub(crate) fn release(&mut self) {
        self.order("release");
    }

    fn order(&mut self, order: &str) -> Vec<String> {
        writeln!(self.control.get_mut(), "{order}").unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.control.read_line(&mut line).unwrap();
            assert!(line.ends_with('\n'), "Jetty is gone");
            match line.trim_end() {
                "" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }
}

impl Drop for Jetty {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Java program of `tests/interop/jetty`, ready for its arguments.
pub(crate) fn java(class: &str) -> Command {
    let mut command = Command::new("java");
    // Starts sooner and stays small; what Jetty's parser says of each bad request is in its answer.
    command.args(["-XX:+UseSerialGC", "-Xmx256m", "-Dorg.eclipse.jetty.util.log.announce=false"]);
    command.args(["-Dorg.eclipse.jetty.LEVEL=WARN", "-Dorg.eclipse.jetty.http.HttpParser.LEVEL=OFF"]);
    command.arg("-cp").arg(format!("{}:{}", classes().display(), class_path())).arg(class);
    command.stdin(Stdio::null());
    command
}

fn class_path() -> String {
    let jar = |name: &str| match name {
        "servlet-api" => format!("/usr/share/java/{name}.jar"),
        part => format!("/usr/share/java/jetty9-{part}.jar"),
    };
    LIBRARIES.map(jar).join(":")
}

/// Compiles once; later runs find the same sources compiled.
fn classes() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let programs = ["Recorder.java", "JavaClient.java", "Launcher.java"].map(|name| sources().join(name));
        let text: Vec<_> = programs.iter().flat_map(|path| fs::read(path).unwrap()).collect();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let ready = tmp.join(format!("jetty-{}", &hex::encode(digest)[..16]));
        if !ready.exists() {
            let fresh = tempfile::tempdir_in(tmp).unwrap().keep();
            let mut javac = Command::new("javac");
            javac.args(["-Xlint:all", "-Werror", "-cp", &class_path(), "-d"]).arg(&fresh).args(&programs);
            assert!(javac.status().expect(MISSING).success(), "cannot compile; it needs {MISSING}");
            // Another process may have been quicker; what it made is the same.
            let _ = fs::rename(&fresh, &ready);
        }
        ready
    })
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources() -> PathBuf {
    repository().join("tests/interop/jetty")
}

const PASSWORD: &str = "changeit";

/// By keytool, as Mirth's own is: key `mirth`, its certificate, and the CA that signed it.
fn make_keystore(folder: &Path) -> PathBuf {
    let store = folder.join("mirth.p12");
    let keytool = |arguments: &[&str]| {
        let mut command = Command::new("keytool");
        command.args(arguments).args(["-storepass", PASSWORD, "-keystore"]).arg(&store);
        let output = command.current_dir(folder).output().expect(MISSING);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    };
    let pair = ["-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "30"];
    keytool(
        &[&pair[..], &["-alias", "ca", "-dname", "CN=Mirth Connect Certificate Authority", "-ext", "bc:c"]]
            .concat(),
    );
    keytool(&[&pair[..], &["-alias", "mirth", "-dname", "CN=mirth-connect"]].concat());
    keytool(&["-certreq", "-alias", "mirth", "-file", "mirth.csr"]);
    keytool(&[
        "-gencert",
        "-alias",
        "ca",
        "-infile",
        "mirth.csr",
        "-outfile",
        "mirth.crt",
        "-validity",
        "30",
    ]);
    keytool(&["-importcert", "-noprompt", "-alias", "mirth", "-file", "mirth.crt"]);
    store
}
