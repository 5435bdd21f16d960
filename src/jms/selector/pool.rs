//! Parsed selectors, shared by all who use the same text.

use super::{Parsed, Selector, SelectorError};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Weak;

/// Selectors in use, by their texts: a text is parsed once however many consumers have it.
#[derive(Default)]
pub struct SelectorPool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    selectors: HashMap<Box<str>, Weak<Parsed>>,
    /// With so many texts those nobody uses any more are looked for.
    tidy_at: usize,
}

impl std::fmt::Debug for SelectorPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelectorPool").field("texts", &self.state.lock().selectors.len()).finish()
    }
}

impl SelectorPool {
    /// The selector of `text`.
    ///
    /// # Errors
    /// As [`Selector::parse`].
    pub fn parse(&self, text: &str) -> Result<Selector, SelectorError> {
        if let Some(parsed) = self.state.lock().selectors.get(text).and_then(Weak::upgrade) {
            return Ok(Selector { parsed });
        }
        let selector = Selector::parse(text)?;
        let mut state = self.state.lock();
        state.selectors.insert(text.into(), std::sync::Arc::downgrade(&selector.parsed));
        if state.selectors.len() > state.tidy_at {
            state.selectors.retain(|_, parsed| parsed.strong_count() > 0);
            state.tidy_at = (state.selectors.len() * 2).max(TIDY_FROM);
        }
        Ok(selector)
    }
}

/// Fewer texts are not worth looking through.
const TIDY_FROM: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_text_is_parsed_once_while_somebody_uses_it() {
        let pool = SelectorPool::default();
        let first = pool.parse("a = 1").expect("valid");
        let second = pool.parse("a = 1").expect("valid");
        assert!(Arc::ptr_eq(&first.parsed, &second.parsed));
        assert!(pool.parse("a =").is_err());
        for number in 0..1000 {
            drop(pool.parse(&format!("a = {number}")));
        }
        assert!(pool.state.lock().selectors.len() <= 2 * TIDY_FROM);
        assert!(Arc::ptr_eq(&first.parsed, &pool.parse("a = 1").expect("valid").parsed));
    }
}
