//! A TCP switch before two servers: who connects to it reaches the one that it points to.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::super::lab::free_address;

pub(super) struct Switch {
    address: SocketAddr,
    to: Arc<Mutex<Target>>,
    task: JoinHandle<()>,
}

struct Target {
    port: u16,
    /// What goes there.
    connections: JoinSet<()>,
}

impl Switch {
    pub(super) async fn to(port: u16) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).await.unwrap();
        let to = Arc::new(Mutex::new(Target { port, connections: JoinSet::new() }));
        let task = tokio::spawn(serve(listener, Arc::clone(&to)));
        Self { address, to, task }
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://adit@{}/{database}", self.address)
    }

    /// Points elsewhere and cuts what goes to where it pointed.
    pub(super) fn turn(&self, port: u16) {
        *self.to.lock() = Target { port, connections: JoinSet::new() };
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, to: Arc<Mutex<Target>>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut to = to.lock();
        let port = to.port;
        to.connections.spawn(pass(client, port));
    }
}

async fn pass(mut client: TcpStream, port: u16) {
    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
        // Whoever ends it.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
