//! One message of one connector, which the DICOM view sends back to have its pixels put in.

use super::filters::STATUS;
use super::value::Value;
use super::{Content, Element};

/// `ContentType` of the engine.
const CONTENT_TYPE: Value = Value::Word(&[
    "RAW",
    "PROCESSED_RAW",
    "TRANSFORMED",
    "ENCODED",
    "SENT",
    "RESPONSE",
    "RESPONSE_TRANSFORMED",
    "PROCESSED_RESPONSE",
    "CONNECTOR_MAP",
    "CHANNEL_MAP",
    "RESPONSE_MAP",
    "PROCESSING_ERROR",
    "POSTPROCESSOR_ERROR",
    "RESPONSE_ERROR",
    "SOURCE_MAP",
]);

const MESSAGE_CONTENT: Content = Content::Fields(&[
    Element::value("channelId", Value::Channel),
    Element::value("messageId", Value::Integer),
    Element::value("metaDataId", Value::Integer),
    Element::value("contentType", CONTENT_TYPE),
    Element::value("content", Value::Content),
    Element::value("dataType", Value::Text),
    Element::value("encrypted", Value::Boolean),
]);

static ENTRY: Element = Element::new(
    "entry",
    Content::Sequence(&[Element::value("string", Value::Text), Element::value("string", Value::Content)]),
);
/// A map of Java may hold any object; only text passes.
const STRINGS: Content = Content::items(&ENTRY);
const MAP_CLASSES: &[(&str, Content)] =
    &[("map", STRINGS), ("linked-hash-map", STRINGS), ("hash-map", STRINGS)];
const MAP_CONTENT: Content = Content::Fields(&[
    Element::or_classed("content", STRINGS, MAP_CLASSES),
    Element::value("encrypted", Value::Boolean),
]);
const ERROR_CONTENT: Content = Content::Fields(&[
    Element::value("content", Value::Content),
    Element::value("encrypted", Value::Boolean),
]);

const FIELDS: Content = Content::Fields(&[
    Element::value("messageId", Value::Integer),
    Element::value("metaDataId", Value::Integer),
    Element::value("chainId", Value::Integer),
    Element::value("orderId", Value::Integer),
    Element::value("errorCode", Value::Integer),
    Element::value("sendAttempts", Value::Integer),
    Element::value("channelId", Value::Channel),
    Element::value("channelName", Value::Text),
    Element::value("connectorName", Value::Text),
    Element::value("serverId", Value::Text),
    Element::new("receivedDate", Content::CALENDAR),
    Element::new("sendDate", Content::CALENDAR),
    Element::new("responseDate", Content::CALENDAR),
    Element::value("status", STATUS),
    Element::new("raw", MESSAGE_CONTENT),
    Element::new("processedRaw", MESSAGE_CONTENT),
    Element::new("transformed", MESSAGE_CONTENT),
    Element::new("encoded", MESSAGE_CONTENT),
    Element::new("sent", MESSAGE_CONTENT),
    Element::new("response", MESSAGE_CONTENT),
    Element::new("responseTransformed", MESSAGE_CONTENT),
    Element::new("processedResponse", MESSAGE_CONTENT),
    Element::new("sourceMapContent", MAP_CONTENT),
    Element::new("connectorMapContent", MAP_CONTENT),
    Element::new("channelMapContent", MAP_CONTENT),
    Element::new("responseMapContent", MAP_CONTENT),
    Element::or_classed("metaDataMap", STRINGS, MAP_CLASSES),
    Element::new("processingErrorContent", ERROR_CONTENT),
    Element::new("postProcessorErrorContent", ERROR_CONTENT),
    Element::new("responseErrorContent", ERROR_CONTENT),
]);
pub(super) const CONNECTOR_MESSAGE: &[Element] = &[Element::new("connectorMessage", FIELDS)];
