//! What an organization's tier admits. A downgrade deletes nothing: the limits bind new objects.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    Free,
    Standard,
    Enterprise,
}

/// What a tier counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    Servers,
    Peers,
    ChannelsPerServer,
}

impl Counted {
    pub const ALL: [Self; 3] = [Self::Servers, Self::Peers, Self::ChannelsPerServer];
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Servers => "servers",
            Self::Peers => "peers",
            Self::ChannelsPerServer => "channels per server",
        })
    }
}

impl Tier {
    pub const ALL: [Self; 3] = [Self::Free, Self::Standard, Self::Enterprise];

    /// Returns the label, as written in commands and shown to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Standard => "Standard",
            Self::Enterprise => "Enterprise",
        }
    }

    /// Returns how many there may be; `None` is unlimited.
    #[must_use]
    pub const fn limit(self, counted: Counted) -> Option<u32> {
        match (self, counted) {
            (Self::Free, Counted::Servers) => Some(1),
            (Self::Free, Counted::Peers) => Some(3),
            (Self::Free, Counted::ChannelsPerServer) | (Self::Standard, Counted::Servers) => Some(5),
            (Self::Standard, Counted::Peers) => Some(20),
            (Self::Standard, Counted::ChannelsPerServer) => Some(25),
            (Self::Enterprise, _) => None,
        }
    }

    /// Checks whether one more fits beside the `present` ones.
    pub fn admit(self, counted: Counted, present: u32) -> Result<(), LimitReached> {
        match self.limit(counted) {
            Some(limit) if present >= limit => Err(LimitReached { tier: self, counted, limit }),
            _ => Ok(()),
        }
    }

    /// Returns whether its organizations may offer read-write administration.
    #[must_use]
    pub const fn offers_admin_rw(self) -> bool {
        matches!(self, Self::Standard | Self::Enterprise)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Tier {
    type Err = UnknownTier;

    fn from_str(text: &str) -> Result<Self, UnknownTier> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownTier { found: text.into() })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no tier; write free, standard or enterprise")]
pub struct UnknownTier {
    found: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {tier} tier admits {limit} {counted}; a higher tier admits more")]
pub struct LimitReached {
    pub tier: Tier,
    pub counted: Counted,
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_tier_table_is_as_printed() {
        let row = |tier: Tier| {
            let limits = Counted::ALL.map(|counted| match tier.limit(counted) {
                Some(limit) => limit.to_string(),
                None => "unlimited".into(),
            });
            format!("{tier}: {}, Admin RW {}", limits.join(" / "), tier.offers_admin_rw())
        };
        assert_eq!(
            Tier::ALL.map(row),
            [
                "Free: 1 / 3 / 5, Admin RW false",
                "Standard: 5 / 20 / 25, Admin RW true",
                "Enterprise: unlimited / unlimited / unlimited, Admin RW true",
            ]
        );
    }

    #[test]
    fn each_tier_admits_exactly_up_to_its_limit() {
        for tier in Tier::ALL {
            for counted in Counted::ALL {
                match tier.limit(counted) {
                    Some(limit) => {
                        assert_eq!(tier.admit(counted, limit - 1), Ok(()));
                        assert_eq!(tier.admit(counted, limit), Err(LimitReached { tier, counted, limit }));
                        assert!(tier.admit(counted, u32::MAX).is_err(), "after a downgrade");
                    }
                    None => assert_eq!(tier.admit(counted, u32::MAX), Ok(())),
                }
            }
        }
    }
}
