//! An exception as it travels: text only. A class name from a peer is never more than text
//! (CVE-2023-46604).

use super::Text;
use std::fmt;

/// A Java exception: class, message, and what stack trace came with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throwable {
    pub class: Option<Text>,
    pub message: Option<Text>,
    pub frames: Vec<StackFrame>,
    pub cause: Option<Box<Self>>,
}

/// One element of a stack trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackFrame {
    pub class: Option<Text>,
    pub method: Option<Text>,
    pub file: Option<Text>,
    /// -1 unknown, -2 native.
    pub line: i32,
}

impl Throwable {
    /// An exception without stack trace.
    pub fn new(class: impl Into<Text>, message: impl Into<Text>) -> Self {
        Self { class: Some(class.into()), message: Some(message.into()), ..Self::default() }
    }
}

/// As `Throwable.toString()` prints it: `class: message`.
impl fmt::Display for Throwable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class.as_deref().unwrap_or("java.lang.Throwable"))?;
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}
