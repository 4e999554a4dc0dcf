//! Root types commands on a host where the service's user owns the state folder, and has planted links,
//! second names and pipes at every name that is ever opened there.

mod ground;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use adit_core::domain::connection::Protocol;
use adit_core::domain::id::KeyFingerprint;

use self::ground::{Ground, PLANTS, SERVICE, is_root, says_what_is_wrong, succeeds};
use super::lab::{Lab, Part, mirth};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_the_gateways_user_plants_is_followed_by_roots_commands() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let connector = ground.outside("connector.toml");
    let token =
        ["admin", "token", "issue", "--server", "Lakeside Mirth", "--out", connector.to_str().unwrap()];
    let commands: [&[&str]; 4] =
        [&["admin", "org", "list"], &["admin", "org", "add", "Mill Hospital"], &token, &["check"]];
    for name in adit_gateway::state_names() {
        for plant in PLANTS {
            let planted = ground.plant(Part::Gateway, &name, plant);
            for command in commands {
                let output = ground.run(Part::Gateway, command).await;
                ground.assert_untouched(&format!("{plant:?} at {name}: {command:?}"));
                says_what_is_wrong(&output, &format!("{plant:?} at {name}: {command:?}"));
                let _ = fs::remove_file(&connector);
            }
            planted.take_away();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_the_agents_user_plants_is_followed_by_roots_commands() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let key = KeyFingerprint::from_bytes([7; 32]).to_string();
    let entry = ground.entry();
    let commands: [&[&str]; 5] = [
        &["trust", &entry, &key],
        &["check"],
        &["status"],
        &["path", &entry, "relay"],
        &["explain", &entry, "GET", "/api/channels"],
    ];
    for name in adit_agent::state_names() {
        for plant in PLANTS {
            let planted = ground.plant(Part::A, &name, plant);
            for command in commands {
                let output = ground.run(Part::A, command).await;
                ground.assert_untouched(&format!("{plant:?} at {name}: {command:?}"));
                says_what_is_wrong(&output, &format!("{plant:?} at {name}: {command:?}"));
            }
            planted.take_away();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_planted_is_followed_by_a_service_that_root_starts() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let names = |part| match part {
        Part::Gateway => adit_gateway::state_names(),
        Part::A | Part::B => adit_agent::state_names(),
    };
    for part in [Part::Gateway, Part::A] {
        for name in names(part) {
            for plant in PLANTS {
                let planted = ground.plant(part, &name, plant);
                ground.starts(part).await;
                ground.assert_untouched(&format!("{plant:?} at {name}: {part:?}"));
                planted.take_away();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_does_belongs_to_the_folders_owner_save_what_root_asked_for() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    succeeds(&ground.run(Part::Gateway, &["admin", "org", "add", "Mill Hospital"]).await);
    let out = ground.outside("connector.toml");
    let issue = |server: &'static str| {
        ["admin", "token", "issue", "--server", server, "--out", out.to_str().unwrap()]
    };
    // A slip leaves nothing that is in the way.
    assert!(!ground.run(Part::Gateway, &issue("no such server")).await.status.success());
    succeeds(&ground.run(Part::Gateway, &issue("Lakeside Mirth")).await);
    let written = fs::metadata(&out).unwrap();
    assert_eq!((written.uid(), written.mode() & 0o777), (0, 0o600));
    assert!(fs::read_to_string(&out).unwrap().contains("token = \""));
    let audit = succeeds(&ground.run(Part::Gateway, &["admin", "audit"]).await);
    assert!(audit.contains("adit admin (uid 0)"), "{audit}");
    let key = KeyFingerprint::from_bytes([7; 32]).to_string();
    succeeds(&ground.run(Part::A, &["trust", &ground.entry(), &key]).await);
    for part in [Part::Gateway, Part::A] {
        for file in fs::read_dir(ground.state(part)).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().uid(), SERVICE, "{}", file.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_root_starts_is_the_folders_owner_with_every_thread() {
    if !is_root() {
        return;
    }
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    ground::give_away(&lab);
    lab.start_all().await;
    lab.port_open(0).await;
    for part in [Part::Gateway, Part::A, Part::B] {
        for task in fs::read_dir(format!("/proc/{}/task", lab.pid(part))).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line = |key| status.lines().find_map(|line: &str| line.strip_prefix(key)).unwrap().trim();
            let ids = [SERVICE; 4].map(|id| id.to_string()).join("\t");
            assert_eq!((line("Uid:"), line("Gid:"), line("Groups:")), (&*ids, &*ids, ""), "{part:?}");
            let kept = u64::from_str_radix(line("CapPrm:"), 16).unwrap();
            assert_eq!(kept & !(1 << 10), 0, "more than CAP_NET_BIND_SERVICE is left");
        }
    }
    let key = lab.status(Part::B).await.unwrap().key;
    let entry = lab.entry(Part::A, 0).await.unwrap().name;
    for command in [&["status"][..], &["trust", &entry, &key.to_string()], &["path", &entry, "auto"]] {
        succeeds(&ground::run_for(&lab, Part::A, command).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn root_does_not_go_where_another_than_the_folders_owner_sends_it() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    // Of root's own, private as a state folder is.
    let own = ground.outside("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, PermissionsExt::from_mode(0o700)).unwrap();
    let state = ground.state(Part::A);
    let folder = state.parent().unwrap();
    let key = KeyFingerprint::from_bytes([7; 32]).to_string();
    let trust = ["trust", &ground.entry(), &key];
    let refused = async |why: &str| {
        let output = ground.run(Part::A, &trust).await;
        assert!(!output.status.success(), "{why}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("user id {SERVICE}")), "{why}: {said}");
        assert_eq!(fs::read_dir(&own).unwrap().count(), 0, "{why}");
    };

    // The folder itself is a link, in a folder of the service's user.
    chown(folder, Some(SERVICE), Some(SERVICE)).unwrap();
    fs::rename(&state, folder.join("before")).unwrap();
    symlink(&own, &state).unwrap();
    refused("the state folder is a link").await;

    // The agent's file is the service's and names it.
    fs::remove_file(&state).unwrap();
    chown(folder, Some(0), Some(0)).unwrap();
    fs::rename(folder.join("before"), &state).unwrap();
    let config = ground.config(Part::A);
    super::lab::edit(&config, |text| rename_state(&text, &state, &own));
    chown(&config, Some(SERVICE), Some(SERVICE)).unwrap();
    refused("the agent's file belongs to the service's user").await;
}

fn rename_state(text: &str, from: &Path, to: &Path) -> String {
    text.replace(from.to_str().unwrap(), to.to_str().unwrap())
}
