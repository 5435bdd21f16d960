//! Whole files: every kind of mistake, every remark, and what ends up in the structs.

mod mistakes;
mod remarks;
mod values;

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<Config, ConfigErrors> {
    parse(text, Path::new("a.xml"), Variables::default())
}

/// A file whose line 2 is inside `<broker>`.
fn inside(content: &str) -> Config {
    match parsed(&format!("<broker>\n{content}\n</broker>")) {
        Ok(config) => config,
        Err(errors) => panic!("{content}: {errors}"),
    }
}

fn errors_of(text: &str) -> String {
    parsed(text).map(drop).unwrap_err().to_string()
}

fn warnings_of(content: &str) -> Vec<String> {
    inside(content).warnings.iter().map(ToString::to_string).collect()
}

fn with_data_source(bean: &str) -> Result<Config, ConfigErrors> {
    parsed(&format!(
        "<beans>{bean}<broker><persistenceAdapter><jdbcPersistenceAdapter dataSource='#ds'/>\
         </persistenceAdapter></broker></beans>"
    ))
}

const MYSQL: &str = "<bean id='ds' class='org.apache.commons.dbcp2.BasicDataSource' \
    destroy-method='close'><property name='driverClassName' value='com.mysql.jdbc.Driver'/>\
    <property name='url' value='jdbc:mysql://localhost/activemq?relaxAutoCommit=true'/>\
    <property name='username' value='u'/><property name='password' value='secret'/>\
    <property name='maxTotal' value='200'/><property name='poolPreparedStatements' value='true'/>\
    </bean>";

#[test]
fn files_are_found_by_xbean_names_and_import_each_other_at_most_so_often() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("conf");
    std::fs::create_dir(&conf).unwrap();
    std::fs::write(
        conf.join("main.xml"),
        "<beans xmlns='http://www.springframework.org/schema/beans'><bean \
         class='org.springframework.beans.factory.config.PropertyPlaceholderConfigurer'>\
         <property name='locations'><list><value>file:${activemq.conf}/a.properties</value>\
         <value>classpath:b.properties</value></list></property></bean>\
         <import resource='inner.xml'/></beans>",
    )
    .unwrap();
    let broker = "<broker brokerName='${a}-${b}' dataDirectory='${activemq.data}'/>";
    std::fs::write(conf.join("inner.xml"), broker).unwrap();
    std::fs::write(conf.join("a.properties"), "a=1\n").unwrap();
    std::fs::write(conf.join("b.properties"), "b=2\n").unwrap();
    let mut variables = Variables::default();
    variables.define("activemq.conf", conf.to_str().unwrap());
    let absolute = format!("xbean:file:{}/main.xml", conf.display());
    for location in ["xbean:main.xml", &absolute] {
        let config = load(location, variables.clone()).unwrap();
        assert_eq!(config.broker.name, "1-2");
        assert_eq!(config.broker.data_directory, folder.path().join("data"));
    }

    let missing = load("xbean:none.xml", variables.clone()).unwrap_err().to_string();
    assert!(missing.starts_with("none.xml: cannot read this file: "), "{missing}");
    std::fs::remove_file(conf.join("b.properties")).unwrap();
    let errors = load("xbean:main.xml", variables.clone()).unwrap_err().to_string();
    assert!(errors.contains("main.xml:1: cannot read the properties file "), "{errors}");

    let round = "<beans xmlns='http://www.springframework.org/schema/beans'>\
                 <import resource='main.xml'/><import resource='main.xml'/></beans>";
    std::fs::write(conf.join("main.xml"), round).unwrap();
    let errors = load("xbean:main.xml", variables).unwrap_err().to_string();
    assert!(errors.contains("files import each other"), "{errors}");
}

proptest! {
    #[test]
    fn no_file_panics(seed in any::<u64>(), cut in 0usize..2000) {
        // The shipped default with a piece of it overwritten.
        let text = include_str!("../../../conf/broker.xml");
        let mut damaged = String::new();
        for (i, c) in text.chars().enumerate() {
            let noise = char::from(b"<>'\"&#${}:/a0 "[(seed as usize).wrapping_add(i) % 14]);
            let hit = i >= cut && i < cut + (seed % 5) as usize;
            write!(damaged, "{}", if hit { noise } else { c }).unwrap();
        }
        drop(parsed(&damaged));
    }
}
