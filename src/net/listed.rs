//! Lists as people read them in a line of the log.

use std::fmt;

/// Shows each of them, with a comma between; `-` where there is none.
#[derive(Debug)]
pub struct Listed<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, others)) = self.0.split_first() else { return f.write_str("-") };
        write!(f, "{first}")?;
        others.iter().try_for_each(|other| write!(f, ", {other}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_as_people_write_it() {
        assert_eq!(Listed::<u8>(&[]).to_string(), "-");
        assert_eq!(Listed(&[1]).to_string(), "1");
        assert_eq!(Listed(&[1, 2, 3]).to_string(), "1, 2, 3");
    }
}
