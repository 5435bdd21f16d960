//! `LIKE`, `IN` and `BETWEEN`: what may follow their left operand.

use std::collections::BTreeSet;

use super::super::SelectorError;
use super::super::expression::{Between, Expression};
use super::super::like::LikePattern;
use super::{Keyword, Parsed, Parser, Symbol, Token};

impl Parser<'_> {
    /// `[NOT] LIKE`, `[NOT] BETWEEN` or `[NOT] IN` after its left operand.
    pub(super) fn predicate(&mut self, operand: Parsed) -> Result<Parsed, SelectorError> {
        let negated = self.accept(&Token::Keyword(Keyword::Not))?;
        let Parsed { at, depth, .. } = operand;
        match self.token {
            Token::Keyword(Keyword::Like) => {
                self.advance()?;
                let pattern = self.like_pattern()?;
                let node = Expression::Like(Box::new(operand.node), pattern);
                let like = self.above(at, depth, node)?;
                self.negate_if(negated, like)
            }
            Token::Keyword(Keyword::In) => {
                let Expression::Property(name) = operand.node else {
                    return Err(self.misplaced("a property before IN", &operand));
                };
                self.advance()?;
                let within = self.string_list()?;
                let within = self.above(at, depth, Expression::In(name, within))?;
                self.negate_if(negated, within)
            }
            Token::Keyword(Keyword::Between) => {
                self.advance()?;
                let low = self.sum()?;
                self.expect(&Token::Keyword(Keyword::And), "AND of BETWEEN")?;
                let high = self.sum()?;
                for side in [&operand, &low, &high] {
                    self.check_order(side)?;
                }
                let depth = depth.max(low.depth).max(high.depth);
                let between = Between {
                    operand: operand.node,
                    low: low.node,
                    high: high.node,
                    outside: negated,
                };
                self.above(at, depth, Expression::Between(Box::new(between)))
            }
            _ => Err(self.unexpected("LIKE, BETWEEN or IN after NOT")),
        }
    }

    fn like_pattern(&mut self) -> Result<LikePattern, SelectorError> {
        let at = self.at;
        let pattern = self.string("a string after LIKE")?;
        let escape = if self.accept(&Token::Keyword(Keyword::Escape))? {
            let at = self.at;
            let escape = self.string("a string of one character after ESCAPE")?;
            let mut chars = escape.chars();
            match (chars.next(), chars.next()) {
                (Some(escape), None) => Some(escape),
                _ => {
                    return Err(SelectorError::Expected {
                        at: self.lexer.position(at),
                        expected: "a string of one character after ESCAPE",
                        found: format!("{} characters", escape.chars().count()),
                    });
                }
            }
        } else {
            None
        };
        LikePattern::new(&pattern, escape).ok_or_else(|| SelectorError::Expected {
            at: self.lexer.position(at),
            expected: "at most 256 characters between two % where there is a _",
            found: "more".to_owned(),
        })
    }

    fn string_list(&mut self) -> Result<BTreeSet<Box<str>>, SelectorError> {
        let mut strings = BTreeSet::new();
        self.expect(&Token::Symbol(Symbol::Open), "( after IN")?;
        loop {
            strings.insert(self.string("a string in the list after IN")?.into());
            if !self.accept(&Token::Symbol(Symbol::Comma))? {
                self.expect(&Token::Symbol(Symbol::Close), ", or ) in the list after IN")?;
                return Ok(strings);
            }
        }
    }
}
