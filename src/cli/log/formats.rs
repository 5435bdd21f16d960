//! Where the three kinds of Java logging files keep levels and file appenders.

use super::settings::{AUDIT_LOGGER, Log, Reader};

type Read = fn(&mut Reader<'_>);

/// The files beside the configuration; the first that exists is read.
pub(super) const FORMATS: [(&str, Read); 3] = [
    ("log4j2.properties", |reader| reader.read_log4j2()),
    ("log4j.properties", |reader| reader.read_log4j1()),
    ("logging.properties", |reader| reader.read_java_logging()),
];

impl Reader<'_> {
    /// log4j 2: `rootLogger.level`, `logger.ID.name`, `logger.ID.level`, `appender.ID.*`.
    fn read_log4j2(&mut self) {
        // Since 2.17.2 also `rootLogger = LEVEL, APPENDER...`.
        self.read_root("rootLogger");
        self.read_root("rootLogger.level");
        let mut audit_loggers = Vec::new();
        for (key, name) in self.with_prefix("logger.") {
            let Some(id) = key.strip_suffix(".name") else {
                continue;
            };
            self.read_logger(&name, &format!("logger.{id}.level"));
            if name == AUDIT_LOGGER {
                audit_loggers.push(format!("logger.{id}.appenderRef."));
            }
        }
        let root = self.appender_names("rootLogger.appenderRef.");
        let audit: Vec<_> = audit_loggers.iter().flat_map(|p| self.appender_names(p)).collect();
        for (key, name) in self.with_prefix("appender.") {
            let Some(id) = key.strip_suffix(".name") else {
                continue;
            };
            for (log, names) in [(Log::Main, &root), (Log::Audit, &audit)] {
                if names.contains(&name) {
                    self.read_log4j2_appender(log, &format!("appender.{id}."));
                }
            }
        }
    }

    fn appender_names(&self, prefix: &str) -> Vec<String> {
        let references = self.with_prefix(prefix).into_iter();
        references.filter(|(key, _)| key.ends_with(".ref")).map(|(_, name)| name).collect()
    }

    fn read_log4j2_appender(&mut self, log: Log, prefix: &str) {
        if !self.entries.contains_key(&format!("{prefix}fileName")) {
            return; // the console
        }
        self.read_path(log, &format!("{prefix}fileName"));
        let (mut size, mut daily) = (None, false);
        for (key, value) in self.with_prefix(prefix) {
            if !key.starts_with("polic") {
                continue;
            }
            if key.ends_with(".size") {
                size = Some(format!("{prefix}{key}"));
            }
            let by_time = ["TimeBasedTriggeringPolicy", "CronTriggeringPolicy"];
            daily |= key.ends_with(".type") && by_time.contains(&value.as_str());
        }
        self.read_policy(log, size.as_deref(), daily);
        self.read_count(log, &format!("{prefix}strategy.max"));
    }

    /// log4j 1: `log4j.rootLogger=LEVEL, APPENDER...`, `log4j.logger.NAME`, `log4j.appender.ID.*`.
    fn read_log4j1(&mut self) {
        let mut root = Vec::new();
        for key in ["log4j.rootCategory", "log4j.rootLogger"] {
            self.read_root(key);
            root.extend(self.listed_after_level(key));
        }
        let mut audit = Vec::new();
        for prefix in ["log4j.category.", "log4j.logger."] {
            for (name, _) in self.with_prefix(prefix) {
                let key = format!("{prefix}{name}");
                self.read_logger(&name, &key);
                if name == AUDIT_LOGGER {
                    audit.extend(self.listed_after_level(&key));
                }
            }
        }
        for (log, ids) in [(Log::Main, root), (Log::Audit, audit)] {
            for id in ids {
                self.read_log4j1_appender(log, &format!("log4j.appender.{id}"));
            }
        }
    }

    fn listed_after_level(&self, key: &str) -> Vec<String> {
        let list = self.entries.get(key).map(String::as_str).unwrap_or_default();
        list.split(',').skip(1).map(|id| id.trim().to_owned()).collect()
    }

    fn read_log4j1_appender(&mut self, log: Log, id: &str) {
        let class = self.entries.get(id).cloned().unwrap_or_default();
        let mut size = None;
        for (option, _) in self.with_prefix(&format!("{id}.")) {
            let key = format!("{id}.{option}");
            // As bean properties: the case of their first letter is free.
            match option.to_ascii_lowercase().as_str() {
                "file" => self.read_path(log, &key),
                "maxfilesize" => size = Some(key),
                "maxbackupindex" => self.read_count(log, &key),
                _ => {}
            }
        }
        self.read_policy(log, size.as_deref(), class.ends_with(".DailyRollingFileAppender"));
    }

    /// `java.util.logging`: `.level`, `NAME.level`, and the options of the `FileHandler`.
    fn read_java_logging(&mut self) {
        self.read_root(".level");
        for (key, _) in self.with_prefix("") {
            let Some(name) = key.strip_suffix(".level") else {
                continue;
            };
            self.read_logger(name, &key);
        }
        const HANDLER: &str = "java.util.logging.FileHandler";
        let handlers = self.entries.get("handlers").cloned().unwrap_or_default();
        if handlers.split([',', ' ']).any(|handler| handler == HANDLER) {
            self.read_path(Log::Main, &format!("{HANDLER}.pattern"));
            self.read_policy(Log::Main, Some(&format!("{HANDLER}.limit")), false);
            self.read_count(Log::Main, &format!("{HANDLER}.count"));
        }
    }
}
