//! An agent as the relay sees it, on a carrier.

use std::collections::VecDeque;
use std::sync::Arc;

use adit_core::domain::id::{BootId, RouteId};
use adit_core::protocol::carrier;
use adit_core::protocol::packet::{PROBE_BYTES_MIN, Packet, PacketKey, PacketKind};
use adit_net::identity::tls::enrol_client_config;
use adit_net::transport::carrier::websocket::{Incoming, Outgoing, WebSocket, fresh_key};
use anyhow::{Context as _, Result, ensure};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::gateway::{self, GatewayProcess, TRUST_DOMAIN};

pub(crate) struct Agent {
    number: usize,
    key: PacketKey,
    gateway: RouteId,
    registers: u64,
    outgoing: Outgoing<TlsStream<TcpStream>>,
    incoming: Incoming<TlsStream<TcpStream>>,
    arrived: VecDeque<Bytes>,
}

impl Agent {
    /// Opens a carrier and registers by it.
    pub(crate) async fn open(gateway: &GatewayProcess, number: usize) -> Result<Self> {
        let mut config = enrol_client_config(gateway.ca_key, TRUST_DOMAIN.parse()?)?;
        config.alpn_protocols = vec![carrier::ALPN.to_vec()];
        let tcp = TcpStream::connect(gateway.address).await?;
        tcp.set_nodelay(true)?;
        let mut stream =
            TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("adit")?, tcp).await?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
            carrier::PATH,
            fresh_key(),
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        ensure!(head.starts_with(b"HTTP/1.1 101 "), "no carrier: {}", String::from_utf8_lossy(&head));
        let (outgoing, incoming) = WebSocket::client(stream, Bytes::new()).await.split();
        let (key, gateway, arrived) = (gateway::key(number), gateway.route, VecDeque::new());
        let mut agent = Self { number, key, gateway, registers: 0, outgoing, incoming, arrived };
        // One of the same number may have been here before.
        agent.registers = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_micros())?;
        agent.register().await?;
        Ok(agent)
    }

    pub(crate) fn route(&self) -> RouteId {
        gateway::route(self.number)
    }

    /// Tells the relay that it is here.
    pub(crate) async fn register(&mut self) -> Result<()> {
        self.registers += 1;
        let mut nonce = [3; 16];
        nonce[..8].copy_from_slice(&self.registers.to_be_bytes());
        for (kind, expected) in
            [(PacketKind::Register, PacketKind::Challenge), (PacketKind::Confirm, PacketKind::Registered)]
        {
            let packet = Packet {
                kind,
                destination: self.gateway,
                source: self.route(),
                boot: BootId::from_bytes([2; 8]),
                nonce,
                length: PROBE_BYTES_MIN,
            };
            let sealed = self.key.seal(&packet, &mut [0; PROBE_BYTES_MIN]).to_vec();
            self.send_all(&[&sealed]).await?;
            let answer = self.key.open(&self.receive().await?).context("an answer of the relay")?;
            ensure!(answer.kind == expected, "{:?} instead of {expected:?}", answer.kind);
            nonce = answer.nonce;
        }
        Ok(())
    }

    /// Sends so many packets of QUIC's form to a peer, as one message.
    pub(crate) async fn send(&mut self, to: RouteId, count: usize, length: usize) -> Result<()> {
        let mut packet = vec![0x40; length];
        packet[1..9].copy_from_slice(to.as_bytes());
        self.send_all(&vec![&packet[..]; count]).await
    }

    async fn send_all(&mut self, packets: &[&[u8]]) -> Result<()> {
        let mut message = BytesMut::new();
        for packet in packets {
            ensure!(carrier::append(&mut message, packet), "a message has no room");
        }
        self.outgoing.feed(message.freeze()).await?;
        Ok(self.outgoing.flush().await?)
    }

    pub(crate) async fn receive(&mut self) -> Result<Bytes> {
        while self.arrived.is_empty() {
            let message = self.incoming.next().await?;
            for packet in carrier::packets(&message) {
                self.arrived.push_back(Bytes::copy_from_slice(packet?));
            }
        }
        self.arrived.pop_front().context("a packet")
    }
}
