//! DICOM programs that none of us wrote, DCMTK's, through the tunnel.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use adit_core::domain::connection::Protocol;
use adit_lab::dicom::object::Object;
use adit_lab::measure::Digest;
use tempfile::TempDir;

use super::lab::{Lab, Part, eventually, free_address, is_long, run};

/// `storescp`, ended when it is dropped.
struct Archive {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Archive {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let mut command = Command::new("storescp");
        // Data sets are written as they came; every association is served by a process of its own.
        command.args(["--bit-preserving", "--fork", "--output-directory"]).arg(folder.path());
        command.args(["--aetitle", "ARCHIVE", &address.port().to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("DCMTK's storescp; run `tests/run.sh`, or: apt-get install dcmtk");
        Self { child, folder, address }
    }

    /// Digests of the data sets it stored.
    fn digests(&self) -> BTreeSet<Digest> {
        let files = fs::read_dir(self.folder.path()).unwrap();
        files.map(|file| Digest::of(data_set(&fs::read(file.unwrap().path()).unwrap()))).collect()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What follows the meta information, whose first element tells its length (PS3.10 §7.1).
fn data_set(file: &[u8]) -> &[u8] {
    let length = u32::from_le_bytes(file[140..144].try_into().unwrap());
    &file[144 + length as usize..]
}

fn dcmtk(program: &str, to: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.args(["--aetitle", "DCMTK", "--call", "ARCHIVE", "127.0.0.1", &to.port().to_string()]);
    command
}

#[track_caller]
fn succeeded(output: &Output) {
    let said =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

fn write_files(folder: &Path, objects: &[Object]) {
    for (number, object) in objects.iter().enumerate() {
        fs::write(folder.join(format!("{number:03}.dcm")), object.file()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dcmtk_is_observed_from_echo_to_store_through_the_tunnel() {
    let archive = Archive::start();
    let lab = Lab::to(Protocol::Dicom, archive.address).await;
    succeeded(&run(dcmtk("echoscu", lab.port(0))).await);

    let megabytes = if is_long() { 512 } else { 16 };
    let mut objects: Vec<_> = Object::series(41, 100, 40_000).collect();
    objects.push(Object::new(42, megabytes * 1024 * 1024));
    let files = tempfile::tempdir().unwrap();
    write_files(files.path(), &objects);
    let mut command = dcmtk("storescu", lab.port(0));
    // Else it would rewrite them as explicit VR.
    command.arg("--propose-implicit").arg("--scan-directories").arg(files.path());
    succeeded(&run(command).await);

    let digests: BTreeSet<_> = objects.iter().map(|object| object.digest).collect();
    assert_eq!(digests.len(), 101);
    eventually("all objects are stored", async || (archive.digests() == digests).then_some(())).await;
    let bytes: u64 = objects.iter().map(|object| object.data_set.len() as u64).sum();
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, "everything is counted", |entry| {
            let seen = entry.dicom.unwrap();
            (seen.accepted, seen.stored, seen.bytes, seen.open) == (2, 101, bytes, 0)
        })
        .await;
        assert!(!lab.log(part).contains("not observed"));
    }
}
