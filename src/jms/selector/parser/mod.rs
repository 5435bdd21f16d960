//! Tokens into an [`Expression`], by precedence; refuses operands an operator never takes.
//!
//! ```text
//! or         = and { OR and }
//! and        = equality { AND equality }
//! equality   = comparison { ('=' | '<>') comparison | IS [NOT] NULL }
//! comparison = sum { ('<' | '<=' | '>' | '>=') sum | [NOT] LIKE string [ESCAPE string]
//!                  | [NOT] BETWEEN sum AND sum | [NOT] IN '(' string { ',' string } ')' }
//! sum        = product { ('+' | '-') product }
//! product    = unary { ('*' | '/' | '%') unary }
//! unary      = ('+' | '-' | NOT) unary | primary
//! primary    = literal | name | name '(' unary { ',' unary } ')' | '(' or ')'
//! ```
//!
//! NOT binds tighter than a comparison: `NOT i = 5` is `(NOT i) = 5`.

mod predicate;

use std::collections::HashSet;
use std::sync::Arc;

use super::expression::{Expression, Kind, Operator, Relation};
use super::function::Call;
use super::lexer::{Keyword, Lexer, Symbol, Token};
use super::value::Value;
use super::{DEPTH_MAX, SelectorError};

/// Most regular expressions of one selector: compiled, each can take 32 KiB.
const PATTERNS_MAX: usize = 32;

/// Parses `text` from byte `start` on, up to its end.
pub(super) fn parse(text: &str, start: usize) -> Result<Expression, SelectorError> {
    let mut lexer = Lexer::new(text, start);
    let (at, token) = lexer.next()?;
    if token == Token::End {
        return Err(SelectorError::Empty);
    }
    let mut parser = Parser { lexer, at, token, nesting: 0, names: HashSet::new(), patterns: 0 };
    let parsed = parser.or()?;
    parser.check_condition(&parsed)?;
    match parser.token {
        Token::End => Ok(parsed.node),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token to read next, and the byte offset where it begins.
    token: Token<'a>,
    at: usize,
    /// How many calls of `unary` are under way; every recursion passes through it.
    nesting: usize,
    names: HashSet<Arc<str>>,
    /// How many regular expressions there are.
    patterns: usize,
}

/// A subtree under construction.
struct Parsed {
    node: Expression,
    /// Height of `node`.
    depth: usize,
    /// Byte offset where its text begins.
    at: usize,
}

impl Parsed {
    fn leaf(at: usize, node: Expression) -> Self {
        Self { node, depth: 1, at }
    }
}

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Parsed, SelectorError> {
        self.chain(Keyword::Or, Self::and, Expression::Or)
    }

    fn and(&mut self) -> Result<Parsed, SelectorError> {
        self.chain(Keyword::And, Self::equality, Expression::And)
    }

    /// `operand { keyword operand }` as one flat node.
    fn chain(
        &mut self,
        keyword: Keyword,
        operand: fn(&mut Self) -> Result<Parsed, SelectorError>,
        node: fn(Vec<Expression>) -> Expression,
    ) -> Result<Parsed, SelectorError> {
        let first = operand(self)?;
        if self.token != Token::Keyword(keyword) {
            return Ok(first);
        }
        self.check_condition(&first)?;
        let (at, mut depth, mut operands) = (first.at, first.depth, vec![first.node]);
        while self.accept(&Token::Keyword(keyword))? {
            let next = operand(self)?;
            self.check_condition(&next)?;
            depth = depth.max(next.depth);
            operands.push(next.node);
        }
        self.above(at, depth, node(operands))
    }

    fn equality(&mut self) -> Result<Parsed, SelectorError> {
        let mut left = self.comparison()?;
        loop {
            let negated = match self.token {
                Token::Symbol(Symbol::Equal) => false,
                Token::Symbol(Symbol::NotEqual) => true,
                Token::Keyword(Keyword::Is) => {
                    self.advance()?;
                    let negated = self.accept(&Token::Keyword(Keyword::Not))?;
                    self.expect(&Token::Keyword(Keyword::Null), "NULL")?;
                    let node = Expression::IsNull(Box::new(left.node));
                    left = self.above(left.at, left.depth, node)?;
                    left = self.negate_if(negated, left)?;
                    continue;
                }
                _ => return Ok(left),
            };
            self.advance()?;
            let right = self.comparison()?;
            for side in [&left, &right] {
                if side.node.kind() == Kind::Null {
                    return Err(self.misplaced("a value other than NULL (use IS NULL)", side));
                }
            }
            if left.node.kind() == Kind::Boolean
                && matches!(right.node.kind(), Kind::Text | Kind::Number)
            {
                return Err(self.misplaced("TRUE, FALSE or a value not known yet", &right));
            }
            let equal = |pair| Expression::Equal(Box::new(pair));
            left = self.join(left, right, equal)?;
            left = self.negate_if(negated, left)?;
        }
    }

    fn comparison(&mut self) -> Result<Parsed, SelectorError> {
        let mut left = self.sum()?;
        loop {
            let relation = match self.token {
                Token::Symbol(Symbol::Less) => Relation::Less,
                Token::Symbol(Symbol::LessEqual) => Relation::LessEqual,
                Token::Symbol(Symbol::Greater) => Relation::Greater,
                Token::Symbol(Symbol::GreaterEqual) => Relation::GreaterEqual,
                Token::Keyword(Keyword::Not | Keyword::Like | Keyword::Between | Keyword::In) => {
                    left = self.predicate(left)?;
                    continue;
                }
                _ => return Ok(left),
            };
            self.advance()?;
            let right = self.sum()?;
            self.check_order(&left)?;
            self.check_order(&right)?;
            left = self.join(left, right, |pair| Expression::Compare(relation, Box::new(pair)))?;
        }
    }

    fn sum(&mut self) -> Result<Parsed, SelectorError> {
        let mut left = self.product()?;
        loop {
            let operator = match self.token {
                Token::Symbol(Symbol::Plus) => Operator::Add,
                Token::Symbol(Symbol::Minus) => Operator::Subtract,
                _ => return Ok(left),
            };
            self.advance()?;
            let right = self.product()?;
            left = self.arithmetic(operator, left, right)?;
        }
    }

    fn product(&mut self) -> Result<Parsed, SelectorError> {
        let mut left = self.unary()?;
        loop {
            let operator = match self.token {
                Token::Symbol(Symbol::Times) => Operator::Multiply,
                Token::Symbol(Symbol::Divide) => Operator::Divide,
                Token::Symbol(Symbol::Modulo) => Operator::Modulo,
                _ => return Ok(left),
            };
            self.advance()?;
            let right = self.unary()?;
            left = self.arithmetic(operator, left, right)?;
        }
    }

    fn arithmetic(
        &self,
        operator: Operator,
        left: Parsed,
        right: Parsed,
    ) -> Result<Parsed, SelectorError> {
        self.join(left, right, |pair| Expression::Arithmetic(operator, Box::new(pair)))
    }

    fn unary(&mut self) -> Result<Parsed, SelectorError> {
        if self.nesting > DEPTH_MAX {
            return Err(self.too_deep(self.at));
        }
        self.nesting += 1;
        let at = self.at;
        let parsed = match self.token {
            Token::Symbol(Symbol::Plus) => {
                self.advance()?;
                self.unary()?
            }
            Token::Symbol(Symbol::Minus) => {
                self.advance()?;
                self.negative(at)?
            }
            Token::Keyword(Keyword::Not) => {
                self.advance()?;
                let operand = self.unary()?;
                self.check_condition(&operand)?;
                self.negate_if(true, Parsed { at, ..operand })?
            }
            _ => self.primary()?,
        };
        self.nesting -= 1;
        Ok(parsed)
    }

    /// What follows a minus sign that began at `at`.
    fn negative(&mut self, at: usize) -> Result<Parsed, SelectorError> {
        const BELOW_LONG_MIN: &str = "9223372036854775808";
        if self.token == Token::Huge(BELOW_LONG_MIN) {
            self.advance()?;
            return Ok(Parsed::leaf(at, Expression::Constant(Value::Long(i64::MIN))));
        }
        let operand = self.unary()?;
        self.above(at, operand.depth, Expression::Negate(Box::new(operand.node)))
    }

    fn primary(&mut self) -> Result<Parsed, SelectorError> {
        let at = self.at;
        let value = match &mut self.token {
            Token::Int(v) => Value::Int(*v),
            Token::Long(v) => Value::Long(*v),
            Token::Huge(_) => Value::Other,
            Token::Double(v) => Value::Double(*v),
            Token::String(v) => Value::String(std::mem::take(v).into_owned().into()),
            Token::Keyword(Keyword::True) => Value::Boolean(true),
            Token::Keyword(Keyword::False) => Value::Boolean(false),
            Token::Keyword(Keyword::Null) => Value::Null,
            Token::Keyword(Keyword::XPath) => return Err(self.not_supported("XPATH selectors")),
            Token::Keyword(Keyword::XQuery) => return Err(self.not_supported("XQUERY selectors")),
            Token::Name(name) => {
                let name = *name;
                self.advance()?;
                if self.token == Token::Symbol(Symbol::Open) {
                    return self.call(at, name);
                }
                return Ok(Parsed::leaf(at, Expression::Property(self.intern(name))));
            }
            Token::Symbol(Symbol::Open) => {
                self.advance()?;
                let inner = self.or()?;
                self.expect(&Token::Symbol(Symbol::Close), "an operator or )")?;
                return Ok(Parsed { at, ..inner });
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.advance()?;
        Ok(Parsed::leaf(at, Expression::Constant(value)))
    }

    /// The arguments of function `name`, whose name began at `at`.
    fn call(&mut self, at: usize, name: &str) -> Result<Parsed, SelectorError> {
        let (mut depth, mut arguments) = (0, Vec::new());
        self.advance()?;
        loop {
            let argument = self.unary()?;
            depth = depth.max(argument.depth);
            arguments.push(argument.node);
            if !self.accept(&Token::Symbol(Symbol::Comma))? {
                break;
            }
        }
        self.expect(&Token::Symbol(Symbol::Close), ", or ) after a function argument")?;
        let call = Call::new(name, arguments, || self.lexer.position(at))?;
        if call.has_pattern() {
            self.patterns += 1;
            if self.patterns > PATTERNS_MAX {
                return Err(SelectorError::Regex {
                    at: self.lexer.position(at),
                    reason: format!("a selector may have {PATTERNS_MAX}"),
                });
            }
        }
        self.above(at, depth, Expression::Call(Box::new(call)))
    }

    fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    fn join(
        &self,
        left: Parsed,
        right: Parsed,
        node: impl FnOnce([Expression; 2]) -> Expression,
    ) -> Result<Parsed, SelectorError> {
        self.above(left.at, left.depth.max(right.depth), node([left.node, right.node]))
    }

    fn negate_if(&self, negated: bool, operand: Parsed) -> Result<Parsed, SelectorError> {
        if !negated {
            return Ok(operand);
        }
        self.above(operand.at, operand.depth, Expression::Not(Box::new(operand.node)))
    }

    /// `node`, whose highest child is `depth` high.
    fn above(&self, at: usize, depth: usize, node: Expression) -> Result<Parsed, SelectorError> {
        if depth >= DEPTH_MAX {
            return Err(self.too_deep(self.at));
        }
        Ok(Parsed { node, depth: depth + 1, at })
    }

    fn advance(&mut self) -> Result<(), SelectorError> {
        (self.at, self.token) = self.lexer.next()?;
        Ok(())
    }

    fn accept(&mut self, token: &Token<'_>) -> Result<bool, SelectorError> {
        let found = self.token == *token;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, token: &Token<'_>, name: &'static str) -> Result<(), SelectorError> {
        if self.accept(token)? { Ok(()) } else { Err(self.unexpected(name)) }
    }

    fn string(&mut self, expected: &'static str) -> Result<String, SelectorError> {
        let Token::String(text) = &mut self.token else {
            return Err(self.unexpected(expected));
        };
        let text = std::mem::take(text).into_owned();
        self.advance()?;
        Ok(text)
    }

    fn check_condition(&self, parsed: &Parsed) -> Result<(), SelectorError> {
        if parsed.node.kind().is_condition() {
            return Ok(());
        }
        Err(self.misplaced("a condition", parsed))
    }

    fn check_order(&self, parsed: &Parsed) -> Result<(), SelectorError> {
        if parsed.node.kind().has_order() {
            return Ok(());
        }
        Err(self.misplaced("a property, a number or arithmetic", parsed))
    }

    fn misplaced(&self, expected: &'static str, parsed: &Parsed) -> SelectorError {
        let found = parsed.node.kind().name().to_owned();
        SelectorError::Expected { at: self.lexer.position(parsed.at), expected, found }
    }

    fn unexpected(&self, expected: &'static str) -> SelectorError {
        let found = match self.token {
            Token::End => "the end".to_owned(),
            _ => self.lexer.excerpt(self.at),
        };
        SelectorError::Expected { at: self.lexer.position(self.at), expected, found }
    }

    fn not_supported(&self, what: &'static str) -> SelectorError {
        SelectorError::NotSupported { at: self.lexer.position(self.at), what }
    }

    fn too_deep(&self, at: usize) -> SelectorError {
        SelectorError::TooDeep { at: self.lexer.position(at) }
    }
}
