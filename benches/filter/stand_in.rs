//! The stand-in Mirth as a process: prints its address, and ends when its standard input does.

use std::io;

use adit::demo::admin_mirth::AdminMirth;
use anyhow::Result;
use tokio::net::TcpListener;

pub const ROLE: &str = "stand-in";
/// The one channel it has.
pub const CHANNEL: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

pub fn run() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await?)?;
        mirth.add_channel(&format!("<channel><id>{CHANNEL}</id><name>bench</name></channel>"));
        println!("{}", mirth.address());
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
        mirth.shutdown().await;
        Ok(())
    })
}
