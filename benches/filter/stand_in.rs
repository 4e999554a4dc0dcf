//! The stand-in Mirth as a process: prints its address, and ends when its standard input does.

use std::io;

use adit_lab::admin_mirth::AdminMirth;
use anyhow::Result;
use tokio::net::TcpListener;

use crate::masking::channel;

pub(crate) const ROLE: &str = "stand-in";
/// The one channel that is asked for by its id.
pub(crate) const CHANNEL: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
/// Some 40 MB, none of them deployed.
const CHANNELS: usize = 1_500;

pub(crate) fn run() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await?)?;
        mirth.add_channel(&format!("<channel><id>{CHANNEL}</id><name>bench</name></channel>"));
        for number in 0..CHANNELS {
            mirth.add_channel(&channel(number));
        }
        println!("{}", mirth.address());
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
        mirth.shutdown().await;
        Ok(())
    })
}
