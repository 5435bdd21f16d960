//! jetty.xml: the few beans of it that say where the web console listens and who may enter.

use std::path::PathBuf;

use super::macros::{element, state};
use super::placeholders::Variables;
use super::report::{Place, Remark};
use super::table::{Reading, State, read_lenient};
use super::units::Secret;
use super::xml::Element;

/// Where the web console, REST and Jolokia listen, and for whom.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsoleConfig {
    pub place: Place,
    /// `127.0.0.1` unless the file or `-Djetty.host` says otherwise. (ActiveMQ 5.15, not told,
    /// listens on all addresses.)
    pub host: String,
    /// 8161 unless the file or `-Djetty.port` says otherwise.
    pub port: u16,
    /// A second listener with TLS.
    pub https: Option<ConsoleTls>,
    /// Whether pages need a login.
    pub authenticate: bool,
    /// Who may see pages.
    pub roles: Vec<String>,
    /// Whether actions need a login, and who may do them.
    pub admin_authenticate: bool,
    pub admin_roles: Vec<String>,
    pub realm: String,
    /// Lines `user: password, role`.
    pub realm_file: Option<PathBuf>,
    /// Sent with each page.
    pub headers: Vec<(String, String)>,
}

/// The HTTPS listener of the console.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsoleTls {
    pub port: u16,
    pub key_store: Option<PathBuf>,
    pub key_store_password: Option<Secret>,
}

/// One word to flip when the console is there.
const CONSOLE: State = state!(later);

element! {
    /// The properties of all beans we look at; which of them matter depends on the class.
    struct JettyBean = {
        host: Option<String> = "host", None, active;
        port: Option<u16> = "port", None, active;
        name: Option<String> = "name", None, active;
        value: Option<String> = "value", None, active;
        roles: Vec<String> = "roles", Vec::new(), active;
        authenticate: bool = "authenticate", false, active;
        config: Option<PathBuf> = "config", None, active;
        key_store: Option<PathBuf> = "keyStorePath", None, active;
        key_store_password: Option<Secret> = "keyStorePassword", None, active;
        context_path: Option<String> = "contextPath", None, active;
    }
}

/// The console of the top-level `<bean>`s, if they open one.
pub(crate) fn read(
    beans: &[&Element],
    variables: &Variables,
    reading: &mut Reading<'_>,
) -> Option<ConsoleConfig> {
    let mut all = Vec::new();
    for bean in beans {
        bean.walk(&mut |element| {
            if element.name == "bean" {
                all.push(element);
            }
        });
    }
    let listens = |class: &str| class.ends_with(".WebConsolePort") || is_connector(class);
    let place = all.iter().find(|bean| listens(class_of(bean)))?.place.clone();
    let mut console = ConsoleConfig {
        place,
        host: "127.0.0.1".to_owned(),
        port: 8161,
        https: None,
        authenticate: false,
        roles: Vec::new(),
        admin_authenticate: false,
        admin_roles: Vec::new(),
        realm: "ActiveMQRealm".to_owned(),
        realm_file: None,
        headers: Vec::new(),
    };
    for element in all {
        console.take(element, reading);
    }
    if let Some(host) = variables.property("jetty.host") {
        host.clone_into(&mut console.host);
    }
    if let Some(port) = variables.property("jetty.port").and_then(|port| port.parse().ok()) {
        console.port = port;
    }
    if CONSOLE != State::Active {
        let remark = Remark::ConsoleNotActiveYet { port: console.port };
        reading.remark(&console.place.clone(), remark);
    }
    Some(console)
}

fn class_of(element: &Element) -> &str {
    element.attribute("class").unwrap_or("")
}

fn is_connector(class: &str) -> bool {
    ["ServerConnector", "SelectChannelConnector", "SecureConnector"]
        .iter()
        .any(|name| class.ends_with(name))
}

impl ConsoleConfig {
    fn take(&mut self, element: &Element, reading: &mut Reading<'_>) {
        let class = class_of(element);
        let simple = class.rsplit('.').next().unwrap_or("");
        match simple {
            "WebConsolePort" => {
                let bean = properties(element, reading);
                self.host = bean.host.unwrap_or_else(|| self.host.clone());
                self.port = bean.port.unwrap_or(self.port);
            }
            "Constraint" => {
                let bean = properties(element, reading);
                if bean.roles.iter().all(|role| role == "admin") {
                    (self.admin_authenticate, self.admin_roles) = (bean.authenticate, bean.roles);
                } else {
                    (self.authenticate, self.roles) = (bean.authenticate, bean.roles);
                }
            }
            "HashLoginService" => {
                let bean = properties(element, reading);
                self.realm = bean.name.unwrap_or_else(|| self.realm.clone());
                self.realm_file = bean.config;
            }
            "HeaderPatternRule" => {
                let bean = properties(element, reading);
                self.headers.extend(bean.name.zip(bean.value));
            }
            "WebAppContext" => {
                let path = properties(element, reading).context_path.unwrap_or_default();
                if !matches!(path.as_str(), "/admin" | "/api" | "/") {
                    reading.remark(&element.place, Remark::WebApplication { path });
                }
            }
            _ if is_connector(class) => self.take_connector(element, reading),
            _ => {}
        }
    }

    /// A connector with a key store inside is HTTPS; the other one has the port of the port bean.
    fn take_connector(&mut self, element: &Element, reading: &mut Reading<'_>) {
        let mut keys = None;
        element.walk(&mut |inner| {
            if class_of(inner).contains("SslContextFactory") {
                keys = Some(inner);
            }
        });
        if let Some(keys) = keys {
            let (port, keys) = (properties(element, reading).port, properties(keys, reading));
            let (key_store, key_store_password) = (keys.key_store, keys.key_store_password);
            let port = port.unwrap_or(8162);
            self.https = Some(ConsoleTls { port, key_store, key_store_password });
        }
    }
}

/// The properties we know; Spring's `#{..}` expressions and all others are passed over.
fn properties(element: &Element, reading: &mut Reading<'_>) -> JettyBean {
    let mut plain = element.clone();
    plain.children.retain(|child| {
        let text = child.attribute("value").unwrap_or("");
        child.name == "property" && !text.starts_with("#{") && child.attribute("ref").is_none()
    });
    reading.quietly(true, |reading| read_lenient(&plain, reading))
}
