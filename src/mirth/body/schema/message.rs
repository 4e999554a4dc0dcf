//! One message of one connector, which the DICOM view sends back to have its pixels put in.
//!
//! Mirth reads the ids in it, and content and data type of `encoded` or `raw`: the header that its stored
//! attachments go into. The rest stays here; its maps hold objects of any class.

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
    Element::value("messageId", Value::Message),
    Element::value("metaDataId", Value::Integer),
    Element::value("contentType", CONTENT_TYPE),
    Element::value("content", Value::Content),
    Element::value("dataType", Value::Text),
    Element::value("encrypted", Value::Boolean),
]);

const FIELDS: Content = Content::SomeFields(&[
    Element::value("messageId", Value::Message),
    Element::value("metaDataId", Value::Integer),
    Element::value("channelId", Value::Channel),
    Element::new("raw", MESSAGE_CONTENT),
    Element::new("encoded", MESSAGE_CONTENT),
    Element::left_out("chainId"),
    Element::left_out("orderId"),
    Element::left_out("errorCode"),
    Element::left_out("sendAttempts"),
    Element::left_out("channelName"),
    Element::left_out("connectorName"),
    Element::left_out("serverId"),
    Element::left_out("receivedDate"),
    Element::left_out("sendDate"),
    Element::left_out("responseDate"),
    Element::left_out("status"),
    Element::left_out("processedRaw"),
    Element::left_out("transformed"),
    Element::left_out("sent"),
    Element::left_out("response"),
    Element::left_out("responseTransformed"),
    Element::left_out("processedResponse"),
    Element::left_out("sourceMapContent"),
    Element::left_out("connectorMapContent"),
    Element::left_out("channelMapContent"),
    Element::left_out("responseMapContent"),
    Element::left_out("metaDataMap"),
    Element::left_out("processingErrorContent"),
    Element::left_out("postProcessorErrorContent"),
    Element::left_out("responseErrorContent"),
]);
pub(super) const CONNECTOR_MESSAGE: &[Element] = &[Element::new("connectorMessage", FIELDS)];
