//! The console as people have it: Debian's Chromium, driven by its `chromedriver`, a gateway and agents as processes of
//! the real binary. `tests/run.sh` installs both packages; `cargo test` leaves this out (`test = false`), because they
//! may be missing: `cargo test --test browser` runs it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails where it stands, and says what it measured"
)]

mod both_sides;
mod diagnosed;
mod driver;
mod hosts;
mod journey;
mod marks;
mod offers;
mod pages;
mod processes;
mod resumed;
mod stage;
mod start;
