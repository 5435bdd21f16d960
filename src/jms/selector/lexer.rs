//! Selector text into tokens, longest match first.
//!
//! Blanks are space, tab, line feed, carriage return and form feed. A comment is `/* */`, or `--`
//! up to a line end; `--` with no line end after it is two minus signs.

use std::borrow::Cow;

use super::SelectorError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    String(Cow<'a, str>),
    Int(i32),
    Long(i64),
    /// A decimal integer beyond 64 bits.
    Huge(&'a str),
    Double(f64),
    Keyword(Keyword),
    Symbol(Symbol),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    And,
    Between,
    Escape,
    False,
    In,
    Is,
    Like,
    Not,
    Null,
    Or,
    True,
    XPath,
    XQuery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
    Open,
    Close,
    Comma,
}

/// Keywords match in any case.
const KEYWORDS: [(&str, Keyword); 13] = [
    ("AND", Keyword::And),
    ("BETWEEN", Keyword::Between),
    ("ESCAPE", Keyword::Escape),
    ("FALSE", Keyword::False),
    ("IN", Keyword::In),
    ("IS", Keyword::Is),
    ("LIKE", Keyword::Like),
    ("NOT", Keyword::Not),
    ("NULL", Keyword::Null),
    ("OR", Keyword::Or),
    ("TRUE", Keyword::True),
    ("XPATH", Keyword::XPath),
    ("XQUERY", Keyword::XQuery),
];

pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Byte offset of the next character; always on a character boundary.
    at: usize,
    /// Byte offset of the last line end, found once: a search per `--` would be quadratic.
    last_line_end: Option<usize>,
}

impl<'a> Lexer<'a> {
    /// Reads `text` from byte `start` on, which must be a character boundary.
    pub(super) fn new(text: &'a str, start: usize) -> Self {
        Self { text, at: start, last_line_end: text.rfind(['\n', '\r']) }
    }

    /// The next token and the byte offset where it begins; [`Token::End`] for ever at the end.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>), SelectorError> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(first) = self.peek(0) else {
            return Ok((start, Token::End));
        };
        let token = match first {
            b'\'' => self.string()?,
            b'0'..=b'9' => self.number()?,
            b'.' if self.peek(1).is_some_and(|b| b.is_ascii_digit()) => self.number()?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => self.word(),
            _ => self.symbol(first)?,
        };
        Ok((start, token))
    }

    /// The text between byte offset `start` and the last token's end, cut for an error message.
    pub(super) fn excerpt(&self, start: usize) -> String {
        const CHARS_MAX: usize = 32;
        let found = self.text.get(start..self.at).unwrap_or_default();
        let mut cut: String = found.chars().take(CHARS_MAX).collect();
        if cut.len() < found.len() {
            cut.push_str("...");
        }
        cut
    }

    /// Byte offset into the position a user counts: characters from 1.
    pub(super) fn position(&self, offset: usize) -> usize {
        self.text.char_indices().take_while(|(at, _)| *at < offset).count() + 1
    }

    fn expected(&self, expected: &'static str, offset: usize) -> SelectorError {
        let rest = self.text.get(offset..).unwrap_or_default();
        let found = rest.chars().next().map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
        SelectorError::Expected { at: self.position(offset), expected, found }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Length of the run, from `ahead` on, of bytes that are `part`.
    fn run(&self, ahead: usize, part: impl Fn(&u8) -> bool) -> usize {
        let rest = self.text.as_bytes().get(self.at + ahead..).unwrap_or_default();
        rest.iter().take_while(|byte| part(byte)).count()
    }

    /// Takes `bytes` ASCII bytes off the front.
    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = self.text.get(self.at..self.at + bytes).unwrap_or_default();
        self.at += bytes;
        taken
    }

    fn skip_blanks(&mut self) -> Result<(), SelectorError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0c), _) => self.at += 1,
                (Some(b'-'), Some(b'-')) if self.last_line_end > Some(self.at) => {
                    self.at += self.run(0, |b| !matches!(b, b'\n' | b'\r'));
                }
                (Some(b'/'), Some(b'*')) => {
                    let body = self.text.get(self.at + 2..).unwrap_or_default();
                    let Some(length) = body.find("*/") else {
                        return Err(self.expected("the end of a comment", self.text.len()));
                    };
                    self.at += length + 4;
                }
                _ => return Ok(()),
            }
        }
    }

    fn word(&mut self) -> Token<'a> {
        let length = self.run(0, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'));
        let word = self.take(length);
        KEYWORDS
            .iter()
            .find(|(text, _)| text.eq_ignore_ascii_case(word))
            .map_or(Token::Name(word), |(_, keyword)| Token::Keyword(*keyword))
    }

    /// `'it''s'`: a doubled quote stands for one.
    fn string(&mut self) -> Result<Token<'a>, SelectorError> {
        let mut length = 0;
        let mut has_quotes = false;
        loop {
            length += self.run(1 + length, |b| *b != b'\'');
            if self.peek(1 + length).is_none() {
                return Err(self.expected("the closing quote of a string", self.text.len()));
            }
            if self.peek(2 + length) != Some(b'\'') {
                break;
            }
            has_quotes = true;
            length += 2;
        }
        self.at += 1;
        let body = self.take(length);
        self.at += 1;
        Ok(Token::String(if has_quotes { body.replace("''", "'").into() } else { body.into() }))
    }

    /// `12`, `12L`, `0x1F`, `017`, `1.5`, `1.`, `.5`, `1e5`.
    fn number(&mut self) -> Result<Token<'a>, SelectorError> {
        let start = self.at;
        let whole = self.run(0, u8::is_ascii_digit);
        let mut length = whole;
        if self.peek(length) == Some(b'.') {
            length += 1;
            length += self.run(length, u8::is_ascii_digit);
        }
        if matches!(self.peek(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(length + 1), Some(b'+' | b'-')));
            let digits = self.run(length + 1 + sign, u8::is_ascii_digit);
            if digits > 0 {
                length += 1 + sign + digits;
            }
        }
        if length > whole {
            let text = self.take(length);
            return text.parse().map(Token::Double).map_err(|_| self.expected("a number", start));
        }
        let integer = if self.peek(0) != Some(b'0') {
            let digits = self.take(whole);
            if matches!(self.peek(0), Some(b'l' | b'L')) {
                self.at += 1;
            }
            // All are digits: only the size can be wrong.
            let Ok(integer) = digits.parse() else {
                return Ok(Token::Huge(digits));
            };
            integer
        } else {
            let hex = match self.peek(1) {
                Some(b'x' | b'X') => self.run(2, u8::is_ascii_hexdigit),
                _ => 0,
            };
            let parsed = if hex > 0 {
                self.at += 2;
                i64::from_str_radix(self.take(hex), 16)
            } else {
                let octal = self.run(0, |b| matches!(b, b'0'..=b'7'));
                i64::from_str_radix(self.take(octal), 8)
            };
            parsed.map_err(|_| self.expected("an integer of 64 bits", start))?
        };
        Ok(i32::try_from(integer).map_or(Token::Long(integer), Token::Int))
    }

    fn symbol(&mut self, first: u8) -> Result<Token<'a>, SelectorError> {
        let (symbol, length) = match (first, self.peek(1)) {
            (b'<', Some(b'>')) => (Symbol::NotEqual, 2),
            (b'<', Some(b'=')) => (Symbol::LessEqual, 2),
            (b'>', Some(b'=')) => (Symbol::GreaterEqual, 2),
            (b'<', _) => (Symbol::Less, 1),
            (b'>', _) => (Symbol::Greater, 1),
            (b'=', _) => (Symbol::Equal, 1),
            (b'+', _) => (Symbol::Plus, 1),
            (b'-', _) => (Symbol::Minus, 1),
            (b'*', _) => (Symbol::Times, 1),
            (b'/', _) => (Symbol::Divide, 1),
            (b'%', _) => (Symbol::Modulo, 1),
            (b'(', _) => (Symbol::Open, 1),
            (b')', _) => (Symbol::Close, 1),
            (b',', _) => (Symbol::Comma, 1),
            _ => return Err(self.expected("a value or an operator", self.at)),
        };
        self.at += length;
        Ok(Token::Symbol(symbol))
    }
}
