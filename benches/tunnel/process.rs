//! Child processes: started, watched by their own id alone, and ended with their owner.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A running child. Dropping it ends it.
pub(crate) struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command` with its output in `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let command = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.into(), child })
    }

    /// Starts this program again as a server and reads the address it prints.
    pub(crate) fn start_server(role: &str) -> Result<(Self, SocketAddr)> {
        let mut child = again(&[role])?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("{role} printed `{}`", line.trim()))?;
        Ok((Self { name: role.into(), child }, address))
    }

    /// Fails when the child has ended.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended early: {status}", self.name),
        }
    }

    /// Processor time since it started, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        /// `USER_HZ`, which Linux keeps at this on every platform it shares with us.
        const TICKS_PER_SECOND: u64 = 100;
        let stat = self.read("stat")?;
        // The name, in brackets, may hold anything; behind it stand the numbered fields from 3 on.
        let (_, fields) = stat.rsplit_once(')').context("no process name in its stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let (user, system) = (fields.get(11).context("no utime")?, fields.get(12).context("no stime")?);
        let ticks = user.parse::<u64>()? + system.parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// Resident memory in MB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024.0 / 1e6)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("reading {path} of {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program, in another role.
pub(crate) fn again(role: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.arg("--role").args(role);
    Ok(command)
}

/// Lets this process and its children hold `wanted` files open, or as many as the system allows.
pub(crate) fn raise_open_files(wanted: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|current| current < allowed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum: limit.maximum })
            .context("raising the limit of open files")?;
    }
    Ok(())
}

/// What loopback carries in one packet: the size of a tunnel's datagrams depends on it. Asked of
/// `ip`, because /sys shows the network namespace that mounted it and not this process's.
pub(crate) fn loopback_mtu() -> String {
    let shown = Command::new("ip").args(["-o", "link", "show", "dev", "lo"]).output();
    let text = shown.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut words = text.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1).map_or_else(|| "unknown (no `ip` command)".into(), String::from)
}

/// The last minute's: more than the bench's own processes means that neighbours were at work.
pub(crate) fn load_average() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    Ok(text.split_whitespace().next().context("an empty /proc/loadavg")?.into())
}

/// Ports that were free a moment ago, each another one.
pub(crate) fn free_ports<const N: usize>() -> Result<[SocketAddr; N]> {
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    Ok(addresses.try_into().expect("as many as were bound"))
}

/// The end of every log, for when a peer does not start.
pub(crate) fn last_words(folder: &Path) -> String {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let logs = files.filter(|path: &PathBuf| path.extension().is_some_and(|extension| extension == "log"));
    let mut words = String::new();
    for path in logs {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(12).collect();
        words.extend(["\n", &path.to_string_lossy(), ":\n"]);
        words.extend(tail.into_iter().rev().flat_map(|line| [line, "\n"]));
    }
    words
}
