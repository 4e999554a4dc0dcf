//! Plots as SVG, with the same figures as a table. What is drawn holds numbers and our own words alone, so it may
//! stand in a page as it is.

use std::fmt::Write as _;

use super::filters::grouped;
use super::shapes::{Measurements, Step};
use adit_core::domain::time::Timestamp;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 168.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 10.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 12.0;
const SPARK_STEP: usize = 4;
const SPARK_HEIGHT: f64 = 24.0;
/// One plot.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) svg: String,
    /// The class and the name of each line.
    pub(super) legend: Vec<(&'static str, &'static str)>,
}

/// What the plots show, in figures.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) heads: Vec<&'static str>,
    /// When a step began, and its figures; the newest first.
    pub(super) rows: Vec<(String, Vec<String>)>,
}

struct Line {
    name: &'static str,
    /// A figure for each step in which there is one, by its place in the span, 0 to 1.
    points: Vec<(f64, f64)>,
}

const CLASSES: [&str; 4] = ["s1", "s2", "s3", "s4"];

/// The span that is shown: when it begins, and how long its steps are.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the unit stands last in each")]
pub(super) struct Axis {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) step_ms: i64,
}

type Figure = fn(&Step) -> Option<f64>;

/// Draws what both ends have measured. Messages, codes and latency are the source's, where they are waited for.
pub(super) fn plots(measured: &Measurements, axis: Axis, is_admin: bool) -> Vec<Plot> {
    let both = steps(measured);
    if both.is_empty() {
        return Vec::new();
    }
    let mut plots = Vec::new();
    if !is_admin {
        plots.push(plot(
            "Messages",
            axis,
            both,
            "",
            &[
                ("messages", |it| some(it.messages)),
                ("objects", |it| some(it.objects.stored)),
                ("objects failed", |it| some(it.objects.failed)),
            ],
        ));
        let codes: [(_, Figure); 3] = [
            ("AA, CA", |it| some(it.acknowledgements.aa + it.acknowledgements.ca)),
            ("AE, CE", |it| some(it.acknowledgements.ae + it.acknowledgements.ce)),
            ("AR, CR", |it| some(it.acknowledgements.ar + it.acknowledgements.cr)),
        ];
        plots.push(plot("Acknowledgements by code", axis, both, "", &codes));
        let latency: [(_, Figure); 2] =
            [("p50", |it| it.latency.map(|it| it.p50_ms)), ("p99", |it| it.latency.map(|it| it.p99_ms))];
        plots.push(plot("Acknowledgement latency, ms", axis, both, "ms", &latency));
    }
    let bytes: [(_, Figure); 2] =
        [("sent", |it| some(it.bytes_sent)), ("received", |it| some(it.bytes_received))];
    plots.push(plot("Bytes", axis, both, "B", &bytes));
    plots.push(plot("Round trip, ms", axis, both, "ms", &[("round trip", |it| it.rtt_ms)]));
    let paths: [(_, Figure); 3] = [
        ("direct", |it| of_path(it, "direct")),
        ("relay", |it| of_path(it, "relay")),
        ("tcp", |it| of_path(it, "tcp")),
    ];
    plots.push(plot("Tunnel up by path, share of the time", axis, both, "", &paths));
    plots
}

/// Returns the source's steps, where messages are waited for; the target's where the source told nothing.
fn steps(measured: &Measurements) -> &[Step] {
    let (source, target) = (&measured.source.steps, &measured.target.steps);
    if source.is_empty() { target } else { source }
}

/// Writes the figures that [`plots`] draws.
pub(super) fn table(measured: &Measurements, is_admin: bool) -> Table {
    type Column = (&'static str, fn(&Step) -> Option<f64>);
    let messages: [Column; 8] = [
        ("messages", |it| some(it.messages)),
        ("AA, CA", |it| some(it.acknowledgements.aa + it.acknowledgements.ca)),
        ("AE, CE", |it| some(it.acknowledgements.ae + it.acknowledgements.ce)),
        ("AR, CR", |it| some(it.acknowledgements.ar + it.acknowledgements.cr)),
        ("p50 ms", |it| it.latency.map(|it| it.p50_ms)),
        ("p99 ms", |it| it.latency.map(|it| it.p99_ms)),
        ("objects", |it| some(it.objects.stored)),
        ("objects failed", |it| some(it.objects.failed)),
    ];
    let tunnel: [Column; 4] = [
        ("bytes sent", |it| some(it.bytes_sent)),
        ("bytes received", |it| some(it.bytes_received)),
        ("round trip ms", |it| it.rtt_ms),
        ("up, %", |it| Some(it.up * 100.0)),
    ];
    let columns = || messages.iter().filter(|_| !is_admin).chain(&tunnel);
    let row = |step: &Step| {
        let figures = columns().map(|(_, figure)| figure(step).map_or_else(|| "–".to_owned(), exact));
        let path = step.path.clone().unwrap_or_else(|| "–".into());
        (step.at.clone(), figures.chain([path]).collect())
    };
    Table {
        heads: columns().map(|(head, _)| *head).chain(["path"]).collect(),
        rows: steps(measured).iter().rev().map(row).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "drawn, not counted")]
#[expect(clippy::unnecessary_wraps, reason = "one shape for all figures")]
fn some(number: u64) -> Option<f64> {
    Some(number as f64)
}

/// Returns the share of a step in which the tunnel was up, where it ran over this path for the longest.
fn of_path(step: &Step, path: &str) -> Option<f64> {
    (step.path.as_deref() == Some(path)).then_some(step.up)
}

fn plot(
    title: &'static str,
    axis: Axis,
    steps: &[Step],
    unit: &str,
    figures: &[(&'static str, Figure)],
) -> Plot {
    let lines: Vec<_> = figures.iter().map(|(name, figure)| line(name, axis, steps, *figure)).collect();
    let legend = lines.iter().zip(CLASSES).map(|(line, class)| (class, line.name)).collect();
    Plot { title, svg: drawn(title, axis, &lines, unit), legend }
}

#[expect(clippy::cast_precision_loss, reason = "drawn, not counted")]
fn line(name: &'static str, axis: Axis, steps: &[Step], figure: Figure) -> Line {
    let span = (axis.to_ms - axis.from_ms).max(1) as f64;
    let points = steps.iter().filter_map(|step| {
        let at = super::moments::millis(&step.at)?;
        Some(((at - axis.from_ms) as f64 / span, figure(step)?))
    });
    Line { name, points: points.collect() }
}

/// Draws the lines; where a step lacks, a line breaks.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "drawn, not counted")]
fn drawn(title: &str, axis: Axis, lines: &[Line], unit: &str) -> String {
    let most = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(0.0, f64::max);
    let top = nice(most);
    let gap = axis.step_ms as f64 * 1.6 / (axis.to_ms - axis.from_ms).max(1) as f64;
    let (x, y) = (
        |at: f64| LEFT + at * (WIDTH - LEFT - RIGHT),
        |v: f64| HEIGHT - BOTTOM - v / top * (HEIGHT - BOTTOM - TOP),
    );
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}, at most {} in a step\">",
        exact(most)
    );
    for part in [0.0, 0.5, 1.0] {
        let at = y(top * part);
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.0}H{}\"/><text class=\"end\" x=\"{}\" y=\"{:.0}\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            short(top * part, unit)
        );
    }
    for (part, class) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
        let at = axis.from_ms + ((axis.to_ms - axis.from_ms) as f64 * part) as i64;
        let _ = write!(
            svg,
            "<text class=\"{class}\" x=\"{:.0}\" y=\"{}\" data-at=\"{}\"{}>{}</text>",
            x(part),
            HEIGHT - 6.0,
            Timestamp::from_millis(at),
            if super::moments::is_in_days(axis.to_ms - axis.from_ms) { " data-day" } else { "" },
            super::moments::axis_text(at, axis.to_ms - axis.from_ms)
        );
    }
    for (line, class) in lines.iter().zip(CLASSES) {
        let _ = write!(svg, "<path class=\"{class}\" d=\"{}\"/>", path(&line.points, gap, x, y));
    }
    svg.push_str("</svg>");
    svg
}

/// Writes a line in whole units, each point from the one before it: a hundred points are less than a kilobyte.
#[expect(clippy::cast_possible_truncation, reason = "drawn, not counted")]
fn path(points: &[(f64, f64)], gap: f64, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::with_capacity(points.len() * 6);
    let (mut last, mut pen) = (f64::NEG_INFINITY, (0, 0));
    for (at, value) in points {
        let next = (x(*at).round() as i32, y(*value).round() as i32);
        let _ = if at - last > gap {
            // So that a step without neighbours is seen too.
            write!(path, "M{} {}h1", next.0, next.1)
        } else if next.1 == pen.1 {
            write!(path, "H{}", next.0)
        } else {
            write!(path, "L{} {}", next.0, next.1)
        };
        (last, pen) = (*at, next);
    }
    path
}

/// Draws the messages of the last hour, two minutes by two minutes, by whole units up or down: as fine as it is shown.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "drawn, not counted")]
pub(super) fn spark(minutes: &[u64]) -> String {
    if minutes.is_empty() {
        return String::new();
    }
    let all: u64 = minutes.iter().sum();
    let steps: Vec<u64> = minutes.chunks(2).map(|two| two.iter().sum()).collect();
    let top = steps.iter().copied().max().unwrap_or(0).max(1) as f64;
    let height = |count: u64| (SPARK_HEIGHT - 2.0 - count as f64 / top * (SPARK_HEIGHT - 4.0)).round() as i64;
    let mut at = height(steps[0]);
    let (mut path, mut level) = (format!("M0 {at}"), 0);
    for count in &steps[1..] {
        let to = height(*count);
        if to == at {
            level += SPARK_STEP;
            continue;
        }
        go_level(&mut path, level);
        // Writing to a string cannot fail.
        let _ = write!(path, "l{SPARK_STEP}{}{}", if to > at { " " } else { "" }, to - at);
        (at, level) = (to, 0);
    }
    go_level(&mut path, level);
    let said = format!("{} messages in the last hour", grouped(all));
    let width = SPARK_STEP * steps.len().saturating_sub(1);
    format!(
        "<svg class=spark viewBox=\"0 0 {width} {SPARK_HEIGHT}\" role=img><title>{said}</title><path d=\"{path}\"/></svg>"
    )
}

fn go_level(path: &mut String, by: usize) {
    if by > 0 {
        // Writing to a string cannot fail.
        let _ = write!(path, "h{by}");
    }
}

/// Returns the next number that people like above this one.
fn nice(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|it| *it >= most).unwrap_or(most)
}

fn short(value: f64, unit: &str) -> String {
    let (value, prefix) = match value {
        it if it >= 1e9 => (it / 1e9, "G"),
        it if it >= 1e6 => (it / 1e6, "M"),
        it if it >= 1e3 && unit != "ms" => (it / 1e3, "k"),
        it => (it, ""),
    };
    let unit = if unit == "ms" { "" } else { unit };
    let digits = usize::from(value < 10.0 && value.fract() != 0.0);
    format!(
        "{value:.digits$}{}{prefix}{unit}",
        if prefix.is_empty() && unit.is_empty() { "" } else { "\u{202f}" }
    )
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole and not negative, as was asked"
)]
fn exact(value: f64) -> String {
    if value.fract() == 0.0 && value >= 0.0 { grouped(value as u64) } else { format!("{value:.2}") }
}
