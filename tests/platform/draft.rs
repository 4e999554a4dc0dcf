//! Sequences as proptest draws them: numbers without meaning, which become steps by what the model has at that moment.
//! Most steps are made to fit (the right party, an object that waits for it), or nothing would ever come about.

#[path = "draft/meaning.rs"]
mod meaning;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};

use crate::step::{Asker, Decision, Event, Report, Step, Wish};
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;

/// Organizations that there may be.
const ORGANIZATIONS: std::ops::RangeInclusive<usize> = 2..=5;
const EVENTS: std::ops::RangeInclusive<usize> = 8..=26;
const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;

/// A sequence.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) tiers: Vec<Tier>,
    /// How much is there before the drawn events begin.
    pub(crate) foundation: u8,
    pub(crate) events: Vec<Drawn>,
}

/// An event that means nothing yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn {
    kind: Drawing,
    after_seconds: u32,
    who: u8,
    pub(crate) one: u16,
    other: u16,
    third: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drawing {
    Order,
    Peering,
    DecidePeering,
    OfferGrant,
    RequestGrant,
    ApproveGrant,
    EndGrant,
    OfferAdmin,
    AcceptOffer,
    EndOffer,
    ViewSecret,
    RotateSecret,
    Token,
    Redeem,
    Judge,
    Authorize,
    Linked,
    Tunnel,
    Fetch,
    Stored,
    Mismatch,
    RefusedPeer,
    Session,
    Tier,
    AddServer,
    DescribeServer,
    RevokeServer,
    AddChannel,
    Publish,
    AddOrganization,
    Sweep,
    EndPeering,
    DeleteServer,
    DescribeChannel,
    DeleteChannel,
    Rename,
}

impl Drawing {
    const fn needs_connection(self) -> bool {
        matches!(
            self,
            Self::Order
                | Self::AcceptOffer
                | Self::EndOffer
                | Self::ViewSecret
                | Self::RotateSecret
                | Self::Tunnel
                | Self::Fetch
                | Self::Stored
                | Self::Mismatch
                | Self::RefusedPeer
                | Self::Session
        )
    }

    const fn needs_channel(self) -> bool {
        matches!(
            self,
            Self::OfferGrant
                | Self::RequestGrant
                | Self::Publish
                | Self::DescribeChannel
                | Self::DeleteChannel
        )
    }

    const fn needs_server(self) -> bool {
        matches!(
            self,
            Self::AddChannel
                | Self::OfferAdmin
                | Self::Token
                | Self::DescribeServer
                | Self::RevokeServer
                | Self::DeleteServer
                | Self::Authorize
                | Self::Linked
        )
    }
}

/// How often each is drawn where nothing is preferred.
const WEIGHTS: [(u32, Drawing); 36] = [
    (20, Drawing::Order),
    (5, Drawing::Peering),
    (5, Drawing::DecidePeering),
    (6, Drawing::OfferGrant),
    (7, Drawing::RequestGrant),
    (9, Drawing::ApproveGrant),
    (4, Drawing::EndGrant),
    (8, Drawing::OfferAdmin),
    (8, Drawing::AcceptOffer),
    (6, Drawing::EndOffer),
    (10, Drawing::ViewSecret),
    (3, Drawing::RotateSecret),
    (6, Drawing::Token),
    (7, Drawing::Redeem),
    (2, Drawing::Judge),
    (3, Drawing::Authorize),
    (5, Drawing::Linked),
    (6, Drawing::Tunnel),
    (7, Drawing::Fetch),
    (7, Drawing::Stored),
    (3, Drawing::Mismatch),
    (2, Drawing::RefusedPeer),
    (2, Drawing::Session),
    (6, Drawing::Tier),
    (5, Drawing::AddServer),
    (2, Drawing::DescribeServer),
    (2, Drawing::RevokeServer),
    (7, Drawing::AddChannel),
    (3, Drawing::Publish),
    (1, Drawing::AddOrganization),
    (2, Drawing::Sweep),
    (1, Drawing::EndPeering),
    (1, Drawing::DeleteServer),
    (2, Drawing::DescribeChannel),
    (1, Drawing::DeleteChannel),
    (1, Drawing::Rename),
];

/// What most events of a sequence are about; then they are about few objects too.
const THEMES: [&[(u32, Drawing)]; 7] = [
    &[],
    &[
        (60, Drawing::Order),
        (10, Drawing::Mismatch),
        (20, Drawing::AcceptOffer),
        (45, Drawing::EndOffer),
        (15, Drawing::OfferAdmin),
    ],
    &[
        (90, Drawing::ViewSecret),
        (15, Drawing::RotateSecret),
        (20, Drawing::Fetch),
        (50, Drawing::Stored),
        (10, Drawing::Sweep),
    ],
    &[
        (50, Drawing::Token),
        (70, Drawing::Redeem),
        (20, Drawing::RevokeServer),
        (15, Drawing::Authorize),
        (10, Drawing::Judge),
    ],
    &[
        (20, Drawing::EndPeering),
        (15, Drawing::DeleteServer),
        (15, Drawing::DeleteChannel),
        (15, Drawing::DescribeChannel),
        (30, Drawing::Peering),
        (20, Drawing::AddServer),
        (20, Drawing::AddChannel),
        (30, Drawing::RequestGrant),
        (30, Drawing::ApproveGrant),
    ],
    &[(60, Drawing::Tier), (60, Drawing::Order), (20, Drawing::AcceptOffer), (20, Drawing::OfferAdmin)],
    &[
        (50, Drawing::Peering),
        (60, Drawing::DecidePeering),
        (90, Drawing::AddChannel),
        (20, Drawing::AddServer),
    ],
];

const GROWTH: usize = THEMES.len() - 1;

fn kinds(theme: usize) -> Vec<Drawing> {
    let weights = WEIGHTS.iter().chain(THEMES[theme]);
    weights.flat_map(|(weight, kind)| (0..*weight).map(|_| *kind)).collect()
}

pub(crate) fn drafts() -> impl Strategy<Value = Draft> {
    let foundation = prop_oneof![1 => Just(0_u8), 2 => Just(1), 2 => Just(2), 2 => Just(3), 3 => Just(4)];
    let themed =
        (0..THEMES.len()).prop_flat_map(|theme| (tiers(theme), prop::collection::vec(event(theme), EVENTS)));
    (themed, foundation).prop_map(|((tiers, events), foundation)| {
        let events =
            events.into_iter().flat_map(|(drawn, times)| (0..times).map(move |time| drawn.again(time)));
        Draft { tiers, foundation, events: events.collect() }
    })
}

/// Draws organizations; where the theme is growth, as many as one of the lowest tier may not have for peers.
fn tiers(theme: usize) -> impl Strategy<Value = Vec<Tier>> {
    let tier = prop_oneof![5 => Just(Tier::Standard), 3 => Just(Tier::Free), 2 => Just(Tier::Enterprise)];
    let grows = theme == GROWTH;
    let count = if grows { *ORGANIZATIONS.end()..=*ORGANIZATIONS.end() } else { ORGANIZATIONS };
    prop::collection::vec(tier, count).prop_map(move |mut tiers| {
        if grows {
            tiers[0] = Tier::Free;
        }
        tiers
    })
}

/// Draws an event, and how often it comes in a row.
fn event(theme: usize) -> impl Strategy<Value = (Drawn, u16)> {
    let after_seconds = prop_oneof![
        60 => Just(1_u32),
        8 => 2_u32..60,
        6 => 60_u32..1_800,
        5 => 1_800_u32..2 * HOUR,
        3 => 2 * HOUR..DAY,
        2 => DAY..4 * DAY,
        1 => 4 * DAY..9 * DAY,
    ];
    let numbers = (any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>());
    let drawn = (prop::sample::select(kinds(theme)), after_seconds, numbers).prop_map(
        move |(kind, after_seconds, (who, one, other, third))| {
            // Where there is a theme, the first two of what fits are chosen alone.
            let one = if theme == 0 { one } else { one % 64 };
            Drawn { kind, after_seconds, who, one, other, third }
        },
    );
    (drawn, prop_oneof![24 => Just(1_u16), 1 => 2_u16..9])
}

/// Returns the steps that everything drawn stands upon.
pub(crate) fn foundation(draft: &Draft) -> Vec<Step> {
    let count = draft.tiers.len();
    let [home, peer] = [owner(0), owner(1)];
    let mut steps: Vec<Step> = (draft.tiers.iter().enumerate())
        .map(|(name, tier)| wish(Asker::Host, Wish::AddOrganization { name, tier: *tier }))
        .collect();
    if draft.foundation >= 1 {
        steps.extend((0..count.min(3)).map(|number| wish(owner(number), Wish::AddServer { name: 0 })));
        steps.push(wish(home, Wish::RequestPeering { with: 1 }));
        steps.push(wish(peer, Wish::DecidePeering { peering: 0, decision: Decision::Accept }));
        steps.push(wish(home, Wish::AddChannel { server: 0, name: 0, published: true }));
    }
    if draft.foundation >= 2 {
        steps.push(wish(peer, Wish::RequestGrant { channel: 0, source: 1 }));
        steps.push(wish(home, Wish::ApproveGrant { grant: 0, source: None }));
    }
    if draft.foundation >= 3 {
        let writes = draft.tiers[0] != Tier::Free;
        steps.push(wish(home, Wish::OfferAdmin { server: 0, to: 1, writes, hours: 7 * 24 }));
    }
    if draft.foundation >= 4 {
        steps.push(wish(peer, Wish::AcceptOffer { connection: 1, source: 1 }));
        steps.push(wish(home, Wish::IssueToken { server: 0, hours: 1 }));
        steps.push(step(Event::Agent { server: 0, report: Report::Redeem { token: 0, key: 0 } }));
    }
    steps
}

fn step(event: Event) -> Step {
    Step { after_seconds: 1, event }
}

fn wish(who: Asker, wish: Wish) -> Step {
    step(Event::Member { who, wish })
}

fn owner(organization: usize) -> Asker {
    Asker::Member { organization, role: UserRole::Owner }
}
