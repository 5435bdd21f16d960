//! Spring beans that are JDBC data sources: which database, where, as whom, how many connections.

use std::time::Duration;

use super::macros::element;
use super::report::{Place, Problem, Remark};
use super::spelling::nearest;
use super::table::{Bean, Reading, read_lenient};
use super::units::Secret;
use super::xml::Element;

/// A database and how to connect to it.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSource {
    pub place: Place,
    /// The bean id; empty for an inner bean.
    pub id: String,
    pub database: Database,
    /// A JDBC URL, `jdbc:mysql://localhost/activemq?relaxAutoCommit=true`.
    pub url: String,
    pub properties: DataSourceProperties,
}

/// The databases that messages can be kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// MySQL and MariaDB.
    MySql,
    PostgreSql,
    Sqlite,
}

element! {
    /// The properties of all known data source classes, under the name each of them uses.
    pub struct DataSourceProperties = {
        driver: Option<String> = "driverClassName" | "driverClass", None, active;
        url: Option<String> = "url" | "URL" | "jdbcUrl", None, active;
        server_name: Option<String> = "serverName", None, active;
        /// 0 = the database's own.
        port_number: u16 = "portNumber" | "port", 0, active;
        database_name: Option<String> = "databaseName", None, active;
        user: Option<String> = "username" | "user" | "userName", None, active;
        password: Option<Secret> = "password", None, active;
        /// `name=value;name=value`.
        connection_properties: Option<String> = "connectionProperties", None, active;
        /// Connections at most; negative = no limit (unset).
        max_total: Option<u32> =
            "maxTotal" | "maxActive" | "maximumPoolSize" | "maxPoolSize" | "maxConnections",
            Some(8), active;
        max_idle: Option<u32> = "maxIdle", Some(8), active;
        min_idle: u32 = "minIdle" | "minimumIdle" | "minPoolSize", 0, active;
        initial_size: u32 = "initialSize" | "initialConnections" | "initialPoolSize", 0, active;
        /// For a free connection; unset = for ever.
        max_wait: Option<Duration> =
            "maxWaitMillis" | "maxWait" | "connectionTimeout" | "checkoutTimeout", None, active;
        validation_query: Option<String> =
            "validationQuery" | "connectionTestQuery" | "preferredTestQuery", None, active;
        test_on_borrow: bool = "testOnBorrow", true, active;
        test_while_idle: bool = "testWhileIdle", false, active;
        time_between_eviction_runs: Option<Duration> =
            "timeBetweenEvictionRunsMillis", None, active;
        min_evictable_idle_time: Option<Duration> = "minEvictableIdleTimeMillis", None, active;
        default_auto_commit: bool = "defaultAutoCommit", true, active;
        pool_prepared_statements: bool = "poolPreparedStatements", false, active;
        max_open_prepared_statements: Option<u32> = "maxOpenPreparedStatements", None, active;
        data_source_name: Option<String> = "dataSourceName", None, active;
    }
}

/// Classes whose properties we understand, with the database they are made for.
const CLASSES: [(&str, Option<Database>); 11] = [
    ("org.apache.commons.dbcp2.BasicDataSource", None),
    ("com.zaxxer.hikari.HikariDataSource", None),
    ("com.alibaba.druid.pool.DruidDataSource", None),
    ("com.mchange.v2.c3p0.ComboPooledDataSource", None),
    ("com.mysql.jdbc.jdbc2.optional.MysqlDataSource", Some(Database::MySql)),
    ("com.mysql.cj.jdbc.jdbc2.optional.MysqlDataSource", Some(Database::MySql)),
    ("com.mysql.cj.jdbc.MysqlDataSource", Some(Database::MySql)),
    ("org.mariadb.jdbc.MariaDbDataSource", Some(Database::MySql)),
    ("org.postgresql.ds.PGPoolingDataSource", Some(Database::PostgreSql)),
    ("org.postgresql.ds.PGSimpleDataSource", Some(Database::PostgreSql)),
    ("org.postgresql.ds.PGConnectionPoolDataSource", Some(Database::PostgreSql)),
];

/// Beginnings of data source classes for databases that are not supported.
const OTHER_DATABASES: [&str; 8] = [
    "org.apache.derby.",
    "oracle.",
    "org.h2.",
    "org.hsqldb.",
    "com.microsoft.",
    "com.ibm.db2.",
    "com.sybase.",
    "net.sourceforge.jtds.",
];

const DRIVERS: [&str; 5] = [
    "com.mysql.jdbc.Driver",
    "com.mysql.cj.jdbc.Driver",
    "org.mariadb.jdbc.Driver",
    "org.postgresql.Driver",
    "org.sqlite.JDBC",
];

/// Whether a bean of that class says nothing until something refers to it.
pub(crate) fn is_data_source(class: &str) -> bool {
    CLASSES.iter().any(|(known, _)| *known == class)
        || OTHER_DATABASES.iter().any(|prefix| class.starts_with(prefix))
}

impl Bean for DataSource {
    const ELEMENTS: &'static [&'static str] = &["bean"];

    fn of_element(element: &Element, reading: &mut Reading<'_>) -> Option<Self> {
        let id = element.attribute("id").unwrap_or("").to_owned();
        let class = element.attribute("class").unwrap_or("").to_owned();
        let Some((_, made_for)) = CLASSES.iter().find(|(known, _)| *known == class) else {
            let problem = if OTHER_DATABASES.iter().any(|prefix| class.starts_with(prefix)) {
                Problem::UnsupportedDatabase { id, database: class }
            } else {
                let suggestion = nearest(&class, CLASSES.iter().map(|(known, _)| *known));
                let suggestion = suggestion.map(str::to_owned);
                Problem::UnknownDataSource { class, id, suggestion }
            };
            reading.error(&element.place, problem);
            return None;
        };
        let properties: DataSourceProperties = read_lenient(element, reading);
        let url = properties.url.clone().or_else(|| Some(url_of(&properties, (*made_for)?)));
        let url = url.unwrap_or_default();
        let Some(database) = database_of(&url) else {
            // Only the beginning: what follows may hold a password.
            let database = url.split(':').take(2).collect::<Vec<_>>().join(":");
            reading.error(&element.place, Problem::UnsupportedDatabase { id, database });
            return None;
        };
        if let Some(class) = properties.driver.clone().filter(|d| !DRIVERS.contains(&d.as_str())) {
            reading.remark(&element.place, Remark::UnknownDriver { class });
        }
        Some(Self { place: element.place.clone(), id, database, url, properties })
    }
}

fn database_of(url: &str) -> Option<Database> {
    let mut words = url.trim().split(':');
    match (words.next(), words.next()) {
        (Some("jdbc"), Some("mysql" | "mariadb")) => Some(Database::MySql),
        (Some("jdbc"), Some("postgresql")) => Some(Database::PostgreSql),
        (Some("jdbc"), Some("sqlite")) => Some(Database::Sqlite),
        _ => None,
    }
}

/// The URL that server, port and database name amount to.
fn url_of(properties: &DataSourceProperties, database: Database) -> String {
    let (scheme, port) = match database {
        Database::MySql => ("mysql", 3306),
        Database::PostgreSql => ("postgresql", 5432),
        Database::Sqlite => ("sqlite", 0),
    };
    let port = if properties.port_number == 0 { port } else { properties.port_number };
    let server = properties.server_name.as_deref().unwrap_or("localhost");
    let name = properties.database_name.as_deref().unwrap_or("");
    format!("jdbc:{scheme}://{server}:{port}/{name}")
}
