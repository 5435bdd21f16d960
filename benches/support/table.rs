//! Tables that show how costs grow.

/// A table with a line for each size, printed as they come.
pub(crate) struct Table {
    columns: &'static [&'static str],
    /// Which column is the cost that the slope is of.
    cost: usize,
    last: Option<(f64, f64)>,
}

impl Table {
    /// The first column is the size. `cost` is the column whose growth with it is told: 0 is not at all,
    /// 1 in proportion.
    pub(crate) fn new(title: &str, cost: &'static str, columns: &'static [&'static str]) -> Self {
        println!("\n{title}");
        let heads = columns.iter().map(|head| format!("{head:>14}"));
        println!("{}   slope of {cost}", heads.collect::<String>());
        let cost = columns.iter().position(|head| *head == cost).unwrap_or(0);
        Self { columns, cost, last: None }
    }

    pub(crate) fn row(&mut self, values: &[f64]) {
        debug_assert_eq!(values.len(), self.columns.len());
        let now = (values[0], values[self.cost]);
        let slope = match self.last.replace(now) {
            Some((size, cost)) if cost > 0.0 && now.1 > 0.0 => {
                format!("{:8.2}", (now.1 / cost).ln() / (now.0 / size).ln())
            }
            _ => String::new(),
        };
        let values = values.iter().map(|value| format!("{:>14}", number(*value)));
        println!("{}{slope}", values.collect::<String>());
    }
}

/// With as many digits as say something.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}
