//! Measurements of a connection, for its two parties: both ends' figures, step by step and together. For anybody
//! else there is no such connection.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::{Asked, Id, optional};
use crate::http::output::Time;
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::platform::{EndMeasurements, MeasuredRange, MeasuredStep, MeasurementsView};
use adit_core::domain::id::ConnectionId;
use adit_core::domain::measurement::{Figure, Span, Sums};
use adit_core::domain::path::PathKind;
use adit_core::domain::time::Timestamp;

/// A day of minutes.
const EVERY_MAX: u32 = 1_440;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(steps)).routes(routes!(total))
}

/// How long the steps are
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StepLength {
    /// Kept for 24 hours
    Minute,
    /// Kept for 90 days; there a few minutes after the hour's end
    Hour,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct RangeQuery {
    /// `minute` where nothing is said
    span: Option<StepLength>,
    /// Steps that begin then or later (RFC 3339); all that are kept where nothing is said
    #[param(format = DateTime)]
    from: Option<String>,
    /// Steps that are over by then (RFC 3339); the one that runs is never there
    #[param(format = DateTime)]
    to: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct StepsQuery {
    /// `minute` where nothing is said
    span: Option<StepLength>,
    /// How many of these steps make one of the answer's: 1 to 1440, and 1 where nothing is said. Counted from 1970 on,
    /// so that the first and the last may be of fewer
    #[param(minimum = 1, maximum = 1440)]
    every: Option<u32>,
    /// Steps that begin then or later (RFC 3339); all that are kept where nothing is said
    #[param(format = DateTime)]
    from: Option<String>,
    /// Steps that are over by then (RFC 3339); the one that runs is never there
    #[param(format = DateTime)]
    to: Option<String>,
}

/// Steps of both ends
#[derive(Debug, Serialize, ToSchema)]
struct Measurements {
    span: StepLength,
    /// When the first step begins that can be there
    from: Time,
    /// When the last one ends
    to: Time,
    source: MeasuredSteps,
    target: MeasuredSteps,
}

/// What one end's agent measured
#[derive(Debug, Serialize, ToSchema)]
struct MeasuredSteps {
    /// In order; a step in which nothing was measured is not there
    steps: Vec<Step>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Step {
    /// When it began
    at: Time,
    #[serde(flatten)]
    figures: Figures,
}

/// Both ends over the whole range
#[derive(Debug, Serialize, ToSchema)]
struct MeasurementsTotal {
    span: StepLength,
    from: Time,
    to: Time,
    source: Figures,
    target: Figures,
}

/// What was measured at one end
#[derive(Debug, Serialize, ToSchema)]
struct Figures {
    /// The share of the time in which the tunnel was up; what was not measured counts as down
    #[schema(minimum = 0, maximum = 1)]
    up: f64,
    /// For how many seconds the agent measured
    measured_seconds: f64,
    /// The path in use for the longest: direct, relay or tcp
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'static str>,
    /// The mean round trip between the agents
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<f64>,
    /// The share of this end's packets that were lost on their way
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    loss: Option<f64>,
    /// Seen here; of HL7v2 alone
    messages: u64,
    acknowledgements: Acknowledgements,
    /// From a message to its acknowledgement, from an object to its answer
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
    /// Into the tunnel
    bytes_sent: u64,
    /// Out of the tunnel
    bytes_received: u64,
    objects: Objects,
}

/// By the code in MSA-1 (HL7 table 0008)
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
struct Acknowledgements {
    aa: u64,
    ae: u64,
    ar: u64,
    ca: u64,
    ce: u64,
    cr: u64,
    /// Without a code of the table
    #[serde(rename = "other")]
    other: u64,
}

/// Of all latencies of the step, or of all steps together: counts by size are added up, never percentiles. Each off by an
/// eighth at most; 67 s stands for all above
#[derive(Debug, Serialize, ToSchema)]
struct Latency {
    p50_ms: f64,
    p99_ms: f64,
}

/// DICOM objects by what they were answered with
#[derive(Debug, Serialize, ToSchema)]
struct Objects {
    /// Success or a warning
    stored: u64,
    failed: u64,
}

/// Shows what was measured of a connection, step by step
#[utoipa::path(
    get,
    path = "/connections/{id}/measurements",
    tag = "connections",
    params(("id" = String, Path, format = Uuid), StepsQuery),
    responses((status = 200, body = Measurements), Problems)
)]
async fn steps(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
    Asked(query): Asked<StepsQuery>,
) -> Result<Json<Measurements>, Problem> {
    let every = query.every()?;
    let view = api.platform.measurements(&caller.initiator, id, query.range()?).await?;
    let MeasurementsView { span, from, to, source, target } = view;
    let length = span.length() * every;
    let shown = |end: EndMeasurements| MeasuredSteps {
        steps: joined(end.steps, length)
            .iter()
            .map(|step| shown_step(step, length_within(step.at, length, from, to)))
            .collect(),
    };
    Ok(Json(Measurements {
        span: StepLength::of(span),
        from: from.into(),
        to: to.into(),
        source: shown(source),
        target: shown(target),
    }))
}

/// Shows what was measured of a connection, all steps together
#[utoipa::path(
    get,
    path = "/connections/{id}/measurements/total",
    tag = "connections",
    params(("id" = String, Path, format = Uuid), RangeQuery),
    responses((status = 200, body = MeasurementsTotal), Problems)
)]
async fn total(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
    Asked(query): Asked<RangeQuery>,
) -> Result<Json<MeasurementsTotal>, Problem> {
    let view = api.platform.measurements(&caller.initiator, id, query.range()?).await?;
    let MeasurementsView { span, from, to, source, target } = view;
    let length = to.since(from);
    Ok(Json(MeasurementsTotal {
        span: StepLength::of(span),
        from: from.into(),
        to: to.into(),
        source: figures(&source.total, length),
        target: figures(&target.total, length),
    }))
}

impl StepLength {
    const fn of(span: Span) -> Self {
        match span {
            Span::Minute => Self::Minute,
            Span::Hour => Self::Hour,
        }
    }

    const fn span(self) -> Span {
        match self {
            Self::Minute => Span::Minute,
            Self::Hour => Span::Hour,
        }
    }
}

impl RangeQuery {
    fn range(&self) -> Result<MeasuredRange, Problem> {
        range(self.span, self.from.as_deref(), self.to.as_deref())
    }
}

impl StepsQuery {
    fn range(&self) -> Result<MeasuredRange, Problem> {
        range(self.span, self.from.as_deref(), self.to.as_deref())
    }

    fn every(&self) -> Result<u32, Problem> {
        let every = self.every.unwrap_or(1);
        if (1..=EVERY_MAX).contains(&every) {
            return Ok(every);
        }
        Err(Problem::new(ProblemKind::Malformed, format!("`every` is from 1 to {EVERY_MAX}")))
    }
}

fn range(span: Option<StepLength>, from: Option<&str>, to: Option<&str>) -> Result<MeasuredRange, Problem> {
    Ok(MeasuredRange {
        span: span.map_or(Span::Minute, StepLength::span),
        from: optional("from", from)?,
        to: optional("to", to)?,
    })
}

/// Puts steps together to ones of this length.
fn joined(steps: Vec<MeasuredStep>, length: Duration) -> Vec<MeasuredStep> {
    let mut joined: Vec<MeasuredStep> = Vec::new();
    for MeasuredStep { at, sums } in steps {
        let at = begin(at, length);
        match joined.last_mut() {
            Some(last) if last.at == at => last.sums.merge(&sums),
            _ => joined.push(MeasuredStep { at, sums }),
        }
    }
    joined
}

/// Returns when the step of this length began in which `at` lies.
fn begin(at: Timestamp, length: Duration) -> Timestamp {
    let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX).max(1);
    Timestamp::from_millis(at.as_millis() - at.as_millis().rem_euclid(length))
}

/// Returns how much of the step that begins at `at` lies between the two.
fn length_within(at: Timestamp, length: Duration, from: Timestamp, to: Timestamp) -> Duration {
    at.saturating_add(length).min(to).since(at.max(from))
}

fn shown_step(step: &MeasuredStep, length: Duration) -> Step {
    Step { at: step.at.into(), figures: figures(&step.sums, length) }
}

fn figures(sums: &Sums, length: Duration) -> Figures {
    let get = |figure| sums.get(figure);
    let latencies = sums.latencies();
    Figures {
        up: rounded(sums.up_share(length)),
        measured_seconds: rounded(Duration::from_millis(get(Figure::MeasuredMillis)).as_secs_f64()),
        path: sums.path().map(PathKind::as_str),
        rtt_ms: sums.rtt_mean().map(millis),
        loss: sums.loss_share().map(rounded),
        messages: get(Figure::Messages),
        acknowledgements: Acknowledgements {
            aa: get(Figure::AckAa),
            ae: get(Figure::AckAe),
            ar: get(Figure::AckAr),
            ca: get(Figure::AckCa),
            ce: get(Figure::AckCe),
            cr: get(Figure::AckCr),
            other: get(Figure::AckOther),
        },
        latency: latencies
            .p50()
            .zip(latencies.p99())
            .map(|(p50, p99)| Latency { p50_ms: millis(p50), p99_ms: millis(p99) }),
        bytes_sent: get(Figure::BytesSent),
        bytes_received: get(Figure::BytesReceived),
        objects: Objects { stored: get(Figure::ObjectsStored), failed: get(Figure::ObjectsFailed) },
    }
}

fn millis(latency: Duration) -> f64 {
    rounded(latency.as_secs_f64() * 1_000.0)
}

/// More digits say nothing.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
