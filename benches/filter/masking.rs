//! What masking costs: the pure code over a channel list and a small answer, and the list through two
//! agents, masked and not, a round of each in turn.

use std::fmt::Write as _;
use std::time::Instant;

use adit_lab::admin_client::AdminClient;
use adit_mirth::mask::{Masker, Scope};
use anyhow::{Result, ensure};
use bytes::BytesMut;

use crate::figures::{cell, median};
use crate::timer::Timer;

/// Where the stand-in has its channels.
const LIST: &str = "/api/4.5.2/channels";
/// What an agent reads of Mirth at a time.
const PIECE_BYTES: usize = 16 * 1024;
/// For the pure code.
const CHANNELS: usize = 100;
const AIM_RATIO: f64 = 0.9;

const XML: &[u8] = b"application/xml";
const JSON: &[u8] = b"application/json";

/// A channel of some 20 KB as Mirth writes it: an HTTP source, ten destinations, a script.
pub(crate) fn channel(number: usize) -> String {
    let mut connectors = String::new();
    for destination in 0..10 {
        // Writing to a string cannot fail.
        let _ = write!(connectors, include_str!("connector.xml"), number = destination);
    }
    let script =
        "    if (msg[&apos;PID&apos;][&apos;PID.3&apos;].toString() == &quot;&quot;) {&#xd;\n        \
                  return false;&#xd;\n    }&#xd;\n"
            .repeat(20);
    format!(
        "<channel version=\"4.5.2\">\n  <id>3f2504e0-4f89-41d3-9a0c-{number:012}</id>\n  \
         <nextMetaDataId>11</nextMetaDataId>\n  <name>channel {number}</name>\n  <destinationConnectors>\n{connectors}  \
         </destinationConnectors>\n  <preprocessingScript>{script}</preprocessingScript>\n</channel>"
    )
}

/// Prints what the pure code does.
pub(crate) fn measure(timer: &Timer) -> Result<()> {
    let xml = format!("<list>{}</list>", (0..CHANNELS).map(channel).collect::<String>());
    let one = r#"{"@version":"4.5.2","metaDataId":3,"name":"to Lakeside","properties":{"@class":"com.mirth.connect.connectors.http.HttpDispatcherProperties","host":"https:\/\/example.org","headers":{"@class":"linked-hash-map","entry":[{"string":"Authorization","list":{"string":"Basic x"}},{"string":"Accept","list":{"string":"*\/*"}}]},"username":"web","password":"secret","content":"if (a < b) {\n  return \"c\";\n}\n"},"enabled":true,"waitForPrevious":false}"#;
    let json = format!(r#"{{"list":{{"connector":[{}]}}}}"#, vec![one; 4_000].join(","));
    println!("\n| masking, pure code | bytes | MB/s |\n|---|---:|---:|");
    for (name, media_type, body) in [("channels, XML", XML, &xml), ("channels, JSON", JSON, &json)] {
        masked(media_type, body.as_bytes())?;
        let nanoseconds = timer.nanoseconds(|| masked(media_type, body.as_bytes()).is_ok());
        #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^52")]
        let rate = body.len() as f64 * 1e3 / nanoseconds;
        println!("| {name} | {} | {rate:.0} |", body.len());
    }
    let small = "<list><dashboardStatus><channelId>3f2504e0-4f89-41d3-9a0c-0305e82c3301</channelId><name>bench</name>\
                 <state>STARTED</state><statusType>CHANNEL</statusType></dashboardStatus></list>";
    let micros = timer.nanoseconds(|| masked(XML, small.as_bytes()).is_ok()) / 1e3;
    println!("\nA small answer of {} bytes: {micros:.2} µs.", small.len());
    Ok(())
}

fn masked(media_type: &[u8], body: &[u8]) -> Result<usize> {
    let mut masker = Masker::new(Scope::Named, Some(media_type), None)?;
    let mut out = BytesMut::with_capacity(2 * PIECE_BYTES);
    let mut bytes = 0;
    for piece in body.chunks(PIECE_BYTES) {
        masker.mask(piece, &mut out)?;
        bytes += out.len();
        out.clear();
    }
    masker.finish(&mut out)?;
    Ok(bytes + out.len())
}

/// Rates of the list in MB/s.
#[derive(Default)]
pub(crate) struct Rates {
    masked: Vec<f64>,
    unmasked: Vec<f64>,
}

impl Rates {
    /// One round; `masked_first` changes from round to round.
    pub(crate) async fn round(
        &mut self,
        masked: &mut AdminClient,
        unmasked: &mut AdminClient,
        masked_first: bool,
    ) -> Result<()> {
        if masked_first {
            self.masked.push(rate(masked).await?);
        }
        self.unmasked.push(rate(unmasked).await?);
        if !masked_first {
            self.masked.push(rate(masked).await?);
        }
        Ok(())
    }

    pub(crate) fn print(&self) {
        let ratio = match (median(&self.masked), median(&self.unmasked)) {
            (Some(masked), Some(unmasked)) if unmasked > 0.0 => format!("{:.2}", masked / unmasked),
            _ => "–".into(),
        };
        println!(
            "\n| through two agents | unmasked | masked | masked ÷ unmasked | aim |\n|---|---:|---:|---:|---:|\n\
             | channel list: MB/s | {} | {} | {ratio} | {AIM_RATIO} |",
            cell(&self.unmasked),
            cell(&self.masked)
        );
    }
}

async fn rate(client: &mut AdminClient) -> Result<f64> {
    let started = Instant::now();
    let (status, bytes) = client.download(LIST).await?;
    ensure!(status == 200, "the list was answered with {status}");
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^52")]
    let megabytes = bytes as f64 / 1e6;
    Ok(megabytes / started.elapsed().as_secs_f64())
}
