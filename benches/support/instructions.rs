//! Counts instructions, which other load on the machine does not change.
//!
//! A bench starts itself once more under valgrind for some number of operations, and again for twice as
//! many: the difference is what the operations cost, without what it took to prepare them.

use super::Outcome;
use super::allocations::Heap;
use std::env;
use std::io::Write;
use std::process::{Command, Stdio, exit};

/// Something to measure.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// How often it is done in the first of two runs.
    pub(crate) operations: usize,
    /// Makes everything ready for so many operations. Temporary files are removed for it.
    pub(crate) ready: fn(usize) -> Outcome<Run>,
}

/// Does so many operations. What it holds is not dropped: that would be part of what is counted.
pub(crate) type Run = Box<dyn FnMut(usize) -> Outcome<()>>;

/// What some operations took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    instructions: Option<u64>,
    allocations: u64,
    bytes: u64,
}

/// Measures the cases whose names have one of the arguments in them, or all, and prints a table.
pub(crate) fn measure(cases: &[Case]) -> Outcome<()> {
    let given: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [run, name, operations] = given.as_slice()
        && run == RUN
    {
        return run_once(cases, name, operations.parse()?);
    }
    if !has_valgrind() {
        println!(
            "instructions are not counted: there is no `valgrind` (Debian: apt install valgrind)"
        );
    }
    println!("{:44} {:>12} {:>11} {:>10}", "operation", "instructions", "allocations", "bytes");
    for case in cases {
        if !given.is_empty() && !given.iter().any(|wanted| case.name.contains(wanted)) {
            continue;
        }
        let (once, twice) =
            (child(case.name, case.operations)?, child(case.name, 2 * case.operations)?);
        let each =
            |twice: u64, once: u64| twice.saturating_sub(once) as f64 / case.operations as f64;
        let instructions = match (twice.instructions, once.instructions) {
            (Some(twice), Some(once)) => format!("{:.0}", each(twice, once)),
            _ => "-".into(),
        };
        println!(
            "{:44} {instructions:>12} {:>11.2} {:>10.0}",
            case.name,
            each(twice.allocations, once.allocations),
            each(twice.bytes, once.bytes)
        );
    }
    Ok(())
}

/// First argument of a child: then come the case and the number of operations.
const RUN: &str = "--run";

/// In a child.
fn run_once(cases: &[Case], name: &str, operations: usize) -> Outcome<()> {
    let case = cases.iter().find(|case| case.name == name).ok_or("no such case")?;
    let mut run = (case.ready)(2 * case.operations)?;
    let before = Heap::taken();
    run(operations)?;
    let taken = Heap::taken() - before;
    println!("{} {}", taken.allocations, taken.bytes);
    std::io::stdout().flush()?;
    exit(0)
}

fn child(name: &str, operations: usize) -> Outcome<Cost> {
    let this = env::current_exe()?;
    let folder = tempfile::tempdir()?;
    let mut command = if has_valgrind() {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
        valgrind.arg(this);
        valgrind
    } else {
        Command::new(this)
    };
    command.args([RUN, name, &operations.to_string()]).env("TMPDIR", folder.path());
    let output = command.stdin(Stdio::null()).output()?;
    let (said, told) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    let mut numbers = said.split_whitespace().map(str::parse);
    let (Some(Ok(allocations)), Some(Ok(bytes))) = (numbers.next(), numbers.next()) else {
        return Err(format!("{name}: {told}").into());
    };
    let line = told.lines().find(|line| line.contains("refs:"));
    let line = line.and_then(|line| line.split_once("refs:"));
    let instructions = line.and_then(|(_, count)| count.trim().replace(',', "").parse().ok());
    Ok(Cost { instructions, allocations, bytes })
}

fn has_valgrind() -> bool {
    let asked = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}
