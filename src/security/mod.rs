//! Who may connect.

use crate::jms::Text;
use hashbrown::HashMap;

/// Checks user names and passwords.
#[derive(Debug, Default)]
pub enum Authenticator {
    /// Everybody may connect; the user name is only informative.
    #[default]
    Open,
    /// `<simpleAuthenticationPlugin>`.
    Simple(SimpleAuthentication),
}

/// `<simpleAuthenticationPlugin>`: users with passwords in the configuration.
#[derive(Debug, Default)]
pub struct SimpleAuthentication {
    users: HashMap<Text, Text>,
    /// Who a connection without user and password is; none: it is not let in.
    anonymous: Option<Text>,
}

impl SimpleAuthentication {
    pub fn new(users: impl IntoIterator<Item = (Text, Text)>, anonymous: Option<Text>) -> Self {
        Self { users: users.into_iter().collect(), anonymous }
    }
}

impl Authenticator {
    /// Whether `user` may connect with `password`.
    pub fn accepts(&self, user: Option<&str>, password: Option<&str>) -> bool {
        match self {
            Self::Open => true,
            Self::Simple(simple) => match (user, password) {
                (None, None) => simple.anonymous.is_some(),
                (Some(user), Some(password)) => {
                    simple.users.get(user).is_some_and(|known| same(known, password))
                }
                _ => false,
            },
        }
    }
}

impl Authenticator {
    /// Who somebody that was accepted as `user` is.
    pub fn principal<'a>(&'a self, user: Option<&'a Text>) -> Option<&'a Text> {
        match self {
            Self::Open => user,
            Self::Simple(simple) => user.or(simple.anonymous.as_ref()),
        }
    }
}

/// Compares without telling by its time how much was right.
fn same(known: &str, given: &str) -> bool {
    let (known, given) = (known.as_bytes(), given.as_bytes());
    let mut difference = known.len() ^ given.len();
    for (at, byte) in given.iter().enumerate() {
        let expected = known.get(at % known.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(expected ^ byte);
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_is_accepted() {
        let users = [("system".into(), "manager".into())];
        let simple = Authenticator::Simple(SimpleAuthentication::new(users, None));
        assert!(simple.accepts(Some("system"), Some("manager")));
        assert!(!simple.accepts(Some("system"), Some("manage")));
        assert!(!simple.accepts(Some("system"), Some("managermanager")));
        assert!(!simple.accepts(Some("nobody"), Some("manager")));
        assert!(!simple.accepts(None, None));
    }

    #[test]
    fn anonymous_needs_neither_name_nor_password() {
        let anonymous = Text::from("guest");
        let simple = SimpleAuthentication::new([], Some(Text::clone(&anonymous)));
        let open = Authenticator::Simple(simple);
        assert!(open.accepts(None, None));
        assert_eq!(open.principal(None), Some(&anonymous));
        assert!(!open.accepts(Some("x"), None));
    }
}
