//! The stand-in Mirth as a process, for clients in other languages (`tests/interop`): prints its
//! address, and when its standard input ends, what it received.

use std::collections::BTreeSet;
use std::io;

use adit_lab::mirth::{Behaviour, Mirth};
use anyhow::Result;
use tokio::net::TcpListener;

pub(crate) fn run() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mirth = Mirth::start(TcpListener::bind(("127.0.0.1", 0)).await?, Behaviour::ACCEPT)?;
        println!("{}", mirth.address());
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
        let received = mirth.journal().received();
        let distinct: BTreeSet<&str> = received.iter().map(|message| message.control_id.as_str()).collect();
        let opened = mirth.journal().opened();
        println!("received {} distinct {} connections {opened}", received.len(), distinct.len());
        mirth.shutdown().await;
        Ok(())
    })
}
