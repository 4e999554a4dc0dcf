//! Both ends of one TCP connection through the tunnel, as raw sockets: how bytes, ends and cuts
//! look to the programs at either side.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::lab::HANG_LIMIT;

/// What a program sees when it reads to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Rst,
}

/// The two sockets of the programs beside the agents.
pub(crate) struct Wire {
    pub source: TcpStream,
    pub target: TcpStream,
}

const HELLO: &[u8; 8] = b"it's me!";

impl Wire {
    /// Connects to `port` and finds the connection that comes out at `listener`, among the agent's
    /// own probes, by what is said on it.
    pub(crate) async fn open(port: SocketAddr, listener: &TcpListener) -> Self {
        let mut source = TcpStream::connect(port).await.unwrap();
        source.write_all(HELLO).await.unwrap();
        let finding = async {
            loop {
                let (mut target, _) = listener.accept().await.unwrap();
                let mut said = [0; HELLO.len()];
                // A probe says nothing and ends.
                if target.read_exact(&mut said).await.is_ok() {
                    assert_eq!(&said, HELLO);
                    return target;
                }
            }
        };
        let target = timeout(HANG_LIMIT, finding).await.expect("the connection comes out");
        Self { source, target }
    }
}

/// Reads to the end and says how it came.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    let reading = timeout(HANG_LIMIT, stream.read_to_end(&mut bytes));
    let end = match reading.await.expect("the connection ends") {
        Ok(_) => End::Fin,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
            End::Rst
        }
    };
    (bytes, end)
}

/// Closes a socket with RST.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// Says that nothing more comes.
pub(crate) async fn finish(stream: &mut TcpStream) {
    stream.shutdown().await.unwrap();
}

/// A listener that tests accept from by hand.
pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind(super::lab::free_address()).await.unwrap()
}
