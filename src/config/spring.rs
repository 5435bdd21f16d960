//! The Spring wrapper: `<beans>`, `<import>`, placeholder beans, and all the beans that Java needs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::data_source::is_data_source;
use super::placeholders::Names;
use super::report::{ConfigError, Notice, Place, Problem, Remark};
use super::table::Reading;
use super::xml::{self, Element, Namespace};

/// The top-level elements of a file and of all it imports, imports first.
pub(crate) struct Documents {
    pub(crate) elements: Vec<Element>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) notices: Vec<Notice>,
    files: usize,
}

/// A configuration that imports more is taken for one that imports itself.
const FILES_MAX: usize = 32;

/// No configuration is as large.
const FILE_BYTES_MAX: u64 = 16 << 20;

impl Documents {
    /// Reads the main file's `text` and everything it imports.
    pub(crate) fn read(text: &str, file: &Path, names: &Names) -> Self {
        let (elements, errors, notices) = (Vec::new(), Vec::new(), Vec::new());
        let mut documents = Self { elements, errors, notices, files: 0 };
        documents.add(text, file, names);
        documents
    }

    fn add(&mut self, text: &str, file: &Path, names: &Names) {
        let root = match xml::parse(text, file) {
            Ok(root) => root,
            Err(error) => return self.errors.push(error),
        };
        match root.name.as_str() {
            "broker" => self.elements.push(root),
            "beans" => {
                for element in root.children {
                    if element.name == "import" && element.namespace == Namespace::Beans {
                        self.import(&element, file, names);
                    } else {
                        self.elements.push(element);
                    }
                }
            }
            _ => {
                let (place, name) = (root.place, root.name);
                self.errors.push(ConfigError::new(place, Problem::WrongRoot { name }));
            }
        }
    }

    fn import(&mut self, import: &Element, importer: &Path, names: &Names) {
        let place = import.place.clone();
        let resource = match names.expand(import.attribute("resource").unwrap_or("")) {
            Ok(resource) => resource,
            Err(problem) => return self.errors.push(ConfigError::new(place, problem)),
        };
        if resource.ends_with("camel.xml") {
            return self.notices.push(Notice { place, remark: Remark::CamelImport { resource } });
        }
        self.files += 1;
        if self.files > FILES_MAX {
            let problem = Problem::TooManyImports { max: FILES_MAX };
            // Said once: the imports of one level would all say it.
            if self.files == FILES_MAX + 1 {
                self.errors.push(ConfigError::new(place, problem));
            }
            return;
        }
        let folder = importer.parent().unwrap_or_else(|| Path::new(""));
        let path = resource_path(&resource, folder, names);
        match read_text(&path) {
            Ok(text) => self.add(&text, &path, names),
            Err(error) => self.errors.push(match *error.problem {
                // The line of the import says more than the file that is not there.
                Problem::Io(source) => ConfigError::new(place, Problem::Import { path, source }),
                problem => ConfigError::new(error.place, problem),
            }),
        }
    }

    /// Loads the properties files of the placeholder beans into `names`, then puts values in.
    pub(crate) fn replace_placeholders(&mut self, names: &mut Names) {
        for bean in self.elements.iter().filter(|e| is_placeholder_bean(e)) {
            if let Err(errors) = load_properties(bean, names) {
                self.errors.extend(errors);
            }
        }
        let (elements, errors) = (&mut self.elements, &mut self.errors);
        for element in elements {
            element.walk_texts(&mut |text, place| match names.expand(text) {
                Ok(expanded) => *text = expanded,
                Err(problem) => errors.push(ConfigError::new(place.clone(), problem)),
            });
        }
    }

    /// Everything with an `id`, at any depth; a later one replaces an earlier one.
    pub(crate) fn beans(&self) -> HashMap<&str, &Element> {
        let mut beans = HashMap::new();
        for element in &self.elements {
            element.walk(&mut |element| {
                if let Some(id) = element.attribute("id") {
                    beans.insert(id, element);
                }
            });
        }
        beans
    }

    /// The one `<broker>`.
    pub(crate) fn broker(&self, file: &Path, reading: &mut Reading<'_>) -> Option<&Element> {
        let mut brokers = self.elements.iter().filter(|element| element.name == "broker");
        let first = brokers.next();
        match first {
            Some(first) => {
                for second in brokers {
                    let first = first.place.clone();
                    reading.error(&second.place, Problem::SecondBroker { first });
                }
            }
            // A file that could not be read may well have held it.
            None if self.errors.is_empty() => {
                reading.error(&Place::new(file.into(), 1), Problem::NoBroker);
            }
            None => {}
        }
        first
    }

    /// One line for each top-level element that nothing here uses.
    pub(crate) fn remark_on_the_rest(&self, reading: &mut Reading<'_>) {
        for element in &self.elements {
            let used =
                element.attribute("id").is_some_and(|id| reading.used.iter().any(|u| u == id));
            let class = element.attribute("class").unwrap_or("");
            match element.name.as_str() {
                "broker" | "description" | "alias" => {}
                _ if used => {}
                "bean" if is_silent(class) => {}
                "bean" if class.ends_with(".Log4jLogQuery") => {
                    reading.remark(&element.place, Remark::LogQuery);
                }
                "bean" => {
                    let class = class.to_owned();
                    reading.remark(&element.place, Remark::Bean { class });
                }
                _ if element.namespace == Namespace::Beans => {
                    reading.unknown_element(
                        element,
                        "beans",
                        &["bean", "import", "broker", "alias"],
                    );
                }
                name => {
                    let name = name.to_owned();
                    reading.remark(&element.place, Remark::Foreign { name });
                }
            }
        }
    }
}

/// Beans whose part is played elsewhere, or that only matter to the JVM.
fn is_silent(class: &str) -> bool {
    is_data_source(class)
        || [
            "org.springframework.",
            "org.jasypt.",
            "org.eclipse.jetty.",
            "org.mortbay.jetty.",
            "org.apache.activemq.web.",
            "org.apache.activemq.hooks.",
        ]
        .iter()
        .any(|prefix| class.starts_with(prefix))
}

fn is_placeholder_bean(element: &Element) -> bool {
    let class = element.attribute("class").unwrap_or("");
    element.name == "bean"
        && ["PropertyPlaceholderConfigurer", "PropertySourcesPlaceholderConfigurer"]
            .iter()
            .any(|name| class.ends_with(name))
}

fn load_properties(bean: &Element, names: &mut Names) -> Result<(), Vec<ConfigError>> {
    let mut locations: Vec<(&str, &Place)> = Vec::new();
    let mut ignore_missing = false;
    for property in bean.named("property") {
        match property.attribute("name") {
            Some("location" | "locations") => {
                for attribute in property.attributes.iter().filter(|a| a.name == "value") {
                    let parts = attribute.value.split(',');
                    locations.extend(parts.map(|location| (location, &attribute.place)));
                }
                property.walk(&mut |inner| {
                    if inner.name == "value" {
                        locations.push((&inner.text, &inner.place));
                    }
                });
            }
            Some("ignoreResourceNotFound") => {
                ignore_missing = property.attribute("value") == Some("true");
            }
            _ => {}
        }
    }
    let mut errors = Vec::new();
    for (location, place) in locations {
        let error = |problem| ConfigError::new(place.clone(), problem);
        let path = match names.expand(location.trim()) {
            Ok(location) => resource_path(&location, Path::new(""), names),
            Err(problem) => {
                errors.push(error(problem));
                continue;
            }
        };
        match std::fs::read(&path) {
            Ok(bytes) => names.add_properties(&bytes),
            Err(e) if ignore_missing && e.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => errors.push(error(Problem::Properties { path, source })),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// `file:PATH`, `classpath:NAME` (in the conf folder) or a bare path, below `folder` if relative.
/// What is not there is looked for in the conf folder.
fn resource_path(resource: &str, folder: &Path, names: &Names) -> PathBuf {
    let resource = resource.trim();
    if let Some(name) = resource.strip_prefix("classpath:") {
        return names.conf().join(name.trim_start_matches('/'));
    }
    let path = match resource.strip_prefix("file:") {
        Some(rest) if rest.starts_with("///") => rest.trim_start_matches("//"),
        Some(rest) => rest,
        None => resource,
    };
    let (beside, in_conf) = (folder.join(path), names.conf().join(path));
    if !beside.exists() && in_conf.exists() { in_conf } else { beside }
}

/// A whole configuration file as text.
pub(crate) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let error = |problem| ConfigError::new(Place::new(path.into(), 0), problem);
    let length = std::fs::metadata(path).map_err(|e| error(Problem::Io(e)))?.len();
    if length > FILE_BYTES_MAX {
        return Err(error(Problem::TooLarge { bytes_max: FILE_BYTES_MAX }));
    }
    let bytes = std::fs::read(path).map_err(|e| error(Problem::Io(e)))?;
    String::from_utf8(bytes).map_err(|_| error(Problem::NotUtf8))
}
