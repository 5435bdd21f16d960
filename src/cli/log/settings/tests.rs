use super::*;

/// Settings from a file of that name and text; `DATA` is the data folder.
fn settings(name: &str, text: &str, levels: Option<&str>) -> Result<Settings, SettingsError> {
    let conf = tempfile::tempdir().unwrap();
    fs::write(conf.path().join(name), text).unwrap();
    let variable = |name: &str| (name == "activemq.data").then(|| "DATA".to_owned());
    Settings::read(conf.path(), Path::new("DATA"), &variable, levels)
}

fn directives(settings: &Settings) -> Vec<String> {
    let mut all: Vec<_> = settings.filter.to_string().split(',').map(str::to_owned).collect();
    all.sort();
    all
}

fn file(path: &str, bytes_max: Option<u64>, closed_max: u32, daily: bool) -> FileSettings {
    FileSettings { path: path.into(), bytes_max, closed_max, daily }
}

const MIB: u64 = 1 << 20;

#[test]
fn without_a_file_the_defaults_hold() {
    let settings = settings("other.properties", "rootLogger.level=DEBUG", None).unwrap();
    assert_eq!(directives(&settings), ["info"]);
    assert_eq!(settings.file, file("DATA/broker.log", Some(10 * MIB), 5, true));
    assert_eq!(settings.audit.path, Path::new("DATA/audit.log"));
}

#[test]
fn log4j2_levels_and_appenders_are_followed() {
    let text = "
        rootLogger.level=WARN
        rootLogger.appenderRef.console.ref=Console
        rootLogger.appenderRef.console.filter.threshold.level=INFO
        rootLogger.appenderRef.logfile.ref=RollingFile
        logger.spring.name=org.springframework
        logger.spring.level=DEBUG
        logger.web.name=org.apache.activemq.web.handler
        logger.web.level=WARN
        logger.kahadb.name=org.apache.activemq.store.kahadb
        logger.kahadb.level=DEBUG
        logger.audit.name=org.apache.activemq.audit
        logger.audit.level=INFO
        logger.audit.appenderRef.auditlog.ref=AuditLog
        appender.console.type=Console
        appender.console.name=Console
        appender.auditlog.name=AuditLog
        appender.auditlog.fileName=${sys:activemq.data}/audit-1.log
        appender.auditlog.policies.time.type=TimeBasedTriggeringPolicy
        appender.extra.name=Unused
        appender.extra.fileName=/nowhere/extra.log
        appender.logfile.name=RollingFile
        appender.logfile.fileName=${sys:activemq.data}/activemq.log
        appender.logfile.filePattern=${sys:activemq.data}/activemq.log.%i
        appender.logfile.policies.type=Policies
        appender.logfile.policies.size.type=SizeBasedTriggeringPolicy
        appender.logfile.policies.size.size=1MB
        appender.logfile.strategy.max=10";
    let settings = settings("log4j2.properties", text, None).unwrap();
    assert_eq!(directives(&settings), ["audit=info", "broker::store::kahadb=debug", "warn"]);
    assert_eq!(settings.file, file("DATA/activemq.log", Some(MIB), 10, false));
    assert_eq!(settings.audit, file("DATA/audit-1.log", None, 5, true));
    assert_eq!(settings.ignored, []);
}

#[test]
fn log4j1_levels_and_appenders_are_followed() {
    let text = "
        log4j.rootLogger=INFO, console, logfile
        log4j.logger.org.apache.activemq=DEBUG
        log4j.logger.org.apache.activemq.spring=WARN
        log4j.logger.org.apache.activemq.audit=INFO, audit
        log4j.appender.console=org.apache.log4j.ConsoleAppender
        log4j.appender.logfile=org.apache.log4j.RollingFileAppender
        log4j.appender.logfile.file=${activemq.data}/activemq.log
        log4j.appender.logfile.maxFileSize=1024KB
        log4j.appender.logfile.maxBackupIndex=7
        log4j.appender.audit=org.apache.log4j.DailyRollingFileAppender
        log4j.appender.audit.File=${activemq.data}/audit.log";
    let settings = settings("log4j.properties", text, None).unwrap();
    assert_eq!(directives(&settings), ["audit=info", "broker=debug", "info"]);
    assert_eq!(settings.file, file("DATA/activemq.log", Some(MIB), 7, false));
    assert_eq!(settings.audit, file("DATA/audit.log", None, 5, true));
}

#[test]
fn java_logging_is_followed() {
    let text = "
        handlers = java.util.logging.FileHandler, java.util.logging.ConsoleHandler
        .level=WARNING
        java.util.logging.ConsoleHandler.level=FINE
        org.apache.activemq.network.level=FINE
        java.util.logging.FileHandler.pattern=%h/java.log
        java.util.logging.FileHandler.limit=5000
        java.util.logging.FileHandler.count=2";
    let settings = settings("logging.properties", text, None).unwrap();
    assert_eq!(directives(&settings), ["broker::network=debug", "warn"]);
    assert_eq!(settings.file, file("DATA/broker.log", Some(5000), 2, false));
    assert_eq!(settings.ignored.len(), 1);
}

#[test]
fn what_cannot_be_followed_is_named_and_the_default_stays() {
    let text = "
        rootLogger.level=LOUD
        rootLogger.appenderRef.a.ref=A
        logger.ours.name=broker::store,evil
        logger.ours.level=DEBUG
        appender.a.name=A
        appender.a.fileName=${sys:no.such.variable}/x.log
        appender.a.policies.size.size=1 parsec
        appender.a.strategy.max=many";
    let settings = settings("log4j2.properties", text, None).unwrap();
    assert_eq!(directives(&settings), ["info"]);
    assert_eq!(settings.file, FileSettings::new("DATA/broker.log".into()));
    let ignored: Vec<_> = settings.ignored.iter().map(ToString::to_string).collect();
    assert_eq!(ignored.len(), 4, "{ignored:?}");
    assert!(ignored[0].ends_with("log4j2.properties: ignored rootLogger.level=LOUD: not a level"));
}

#[test]
fn broker_log_overrides_the_file() {
    let text = "rootLogger=ERROR\nlogger.a.name=broker::store\nlogger.a.level=DEBUG";
    let levels = Some("warn,broker::store=error,broker::network=debug");
    let settings = settings("log4j2.properties", text, levels).unwrap();
    let expected = ["broker::network=debug", "broker::store=error", "warn"];
    assert_eq!(directives(&settings), expected);
}

#[test]
fn a_malformed_broker_log_is_refused() {
    let refused = settings("log4j2.properties", "", Some("broker=loud"));
    assert!(matches!(refused, Err(SettingsError::Filter { value, .. }) if value == "broker=loud"));
}

#[test]
fn sizes_are_those_of_log4j() {
    for (text, size) in [
        ("1024", Some(1024)),
        (" 10 mb ", Some(10 * MIB)),
        ("1GB", Some(1 << 30)),
        ("0", None),
        ("-1", None),
        ("99999999999999999999", None),
        ("99999999999999GB", None),
    ] {
        assert_eq!(bytes(text), size, "{text}");
    }
}
