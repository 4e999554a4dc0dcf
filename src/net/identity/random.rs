//! The only source of randomness in the program.

/// Returns random bytes fit for keys, tokens, nonces and identities.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The generator is seeded before the first key is made; afterwards it computes and cannot fail.
    aws_lc_rs::rand::fill(&mut bytes).expect("the seeded random generator gives bytes");
    bytes
}

/// Returns a draw in `0.0..1.0`, for jitter.
#[must_use]
pub fn draw() -> f64 {
    f64::from(u32::from_be_bytes(bytes())) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_of_bytes_differ() {
        assert_ne!(bytes::<32>(), bytes::<32>());
    }

    #[test]
    fn a_draw_for_jitter_stays_below_one() {
        assert!((0..1_000).all(|_| (0.0..1.0).contains(&draw())));
    }
}
