//! Everything people and scripts see: results on stdout, problems and progress on stderr.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use creta_model::{Location, Problem};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;
use crate::write;

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// Where a command writes.
pub struct Terminal<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    json: bool,
    /// Colours and progress bars; only when a person is looking.
    is_tty: bool,
    colors: bool,
    /// Folder that problem locations are relative to.
    project: Option<PathBuf>,
}

impl<'a> Terminal<'a> {
    /// Writes results to `out`, everything else to `err`.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err, json: false, is_tty: false, colors: false, project: None }
    }

    /// The same for the process's own streams: with colours and progress where stderr is a terminal.
    pub fn for_process(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        let is_tty = std::io::stderr().is_terminal();
        let colors = is_tty && std::env::var_os("NO_COLOR").is_none();
        Self { out, err, json: false, is_tty, colors, project: None }
    }

    pub(crate) fn set_json(&mut self, json: bool) {
        self.json = json;
    }

    pub(crate) fn set_project(&mut self, folder: &Path) {
        self.project = Some(folder.to_owned());
    }

    /// Shows a result: `value` for scripts, `text` for people.
    ///
    /// A reader that has gone away (`creta ... | head`) is not an error.
    pub(crate) fn show(&mut self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let text = if self.json {
            serde_json::to_string(value).expect("results have string keys and finite numbers")
        } else {
            text()
        };
        let text = text.trim_end_matches('\n');
        if !text.is_empty() {
            write(self.out, &format!("{text}\n"));
        }
    }

    /// Text that is the same for people and scripts: help, completion.
    pub(crate) fn print(&mut self, text: &str) {
        write(self.out, text);
    }

    /// A wrong command line, in the words of the parser.
    pub(crate) fn complain(&mut self, text: &str) {
        write(self.err, text);
        if !text.ends_with('\n') {
            write(self.err, "\n");
        }
    }

    /// Asks yes or no; yes has to be typed. Where nobody sits at a terminal there is nobody to ask, and the command said enough.
    pub(crate) fn agrees(&mut self, question: &str) -> Result<bool, Failure> {
        if !std::io::stdin().is_terminal() {
            return Ok(true);
        }
        self.complain(&format!("{question} [y/N]"));
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        read.map_err(|error| Failure::file("read", Path::new("standard input"), &error))?;
        Ok(["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
    }

    /// Asks for a secret: typed without being shown, or the first line of standard input where that is no terminal.
    pub(crate) fn ask_secret(&mut self, question: &str) -> Result<String, Failure> {
        let read = if std::io::stdin().is_terminal() {
            self.complain(question);
            console::Term::stderr().read_secure_line()
        } else {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        };
        let line = read.map_err(|error| Failure::file("read", Path::new("standard input"), &error))?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Shows what did not hinder the command.
    pub(crate) fn warn(&mut self, problems: &[Problem]) {
        if !self.json {
            for problem in problems {
                let text = self.render(problem, Severity::Warning);
                write(self.err, &format!("{text}\n\n"));
            }
        }
    }

    /// Shows why the command ended; as JSON on stdout for scripts.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if self.json {
            let value = serde_json::json!({ "problems": failure.problems });
            write(self.out, &format!("{value}\n"));
            return;
        }
        for (index, problem) in failure.problems.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            let text = self.render(problem, Severity::Error);
            write(self.err, &format!("{gap}{text}\n"));
        }
        if failure.problems.len() > 1 {
            write(self.err, &format!("\n{} problems\n", failure.problems.len()));
        }
    }

    /// A bar on stderr for work of `total` steps; invisible unless a person is looking.
    pub(crate) fn progress(&self, what: &str, total: u64) -> ProgressBar {
        if !self.is_tty || self.json {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(total).with_message(what.to_owned());
        let template = if total == 0 { "{spinner} {msg} {elapsed}" } else { "{msg} {bar:30} {pos}/{len} {eta}" };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        bar
    }

    fn render(&self, problem: &Problem, severity: Severity) -> String {
        let word = match severity {
            Severity::Error => self.paint("1;31", &format!("error[{}]", problem.code)),
            Severity::Warning => self.paint("1;33", &format!("warning[{}]", problem.code)),
        };
        let mut text = format!("{word}: {}", problem.message);
        if let Some(at) = &problem.location {
            text.push_str(&self.render_location(at));
        }
        let label = problem.notes.iter().map(|note| note.label.chars().count()).max().unwrap_or(0);
        let width = problem.notes.iter().map(|note| note.text.chars().count()).max().unwrap_or(0);
        for note in &problem.notes {
            let at = note.location.as_ref().map(|at| format!("   {}:{}", at.file, at.line)).unwrap_or_default();
            let body = if at.is_empty() { note.text.clone() } else { format!("{:<width$}", note.text) };
            text.push_str(&format!("\n  {:<label$}  {body}{}", note.label, self.paint("2", &at)));
        }
        if let Some(help) = &problem.help {
            text.push_str(&format!("\n  {} {help}", self.paint("1;36", "help:")));
        }
        text
    }

    /// `--> file:line` and, when the file is there, the line itself.
    fn render_location(&self, at: &Location) -> String {
        let place = format!("\n  {} {}:{}", self.paint("36", "-->"), at.file, at.line);
        let source = self.project.as_ref().and_then(|folder| std::fs::read_to_string(folder.join(&at.file)).ok());
        let line = source.as_deref().and_then(|text| text.lines().nth(at.line.checked_sub(1)? as usize));
        let Some(line) = line.filter(|line| !line.trim().is_empty()) else { return place };
        let number = at.line.to_string();
        let margin = " ".repeat(number.len());
        let (bar, number) = (self.paint("36", "|"), self.paint("36", &number));
        format!("{place}\n  {margin} {bar}\n  {number} {bar} {}\n  {margin} {bar}", line.trim_end())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colors && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Which side of its column a cell keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under headings, columns two spaces apart, nothing at the ends of lines.
pub(crate) fn table(headings: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(headings)
            .zip(&widths)
            .map(|((cell, (_, align)), width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let names: Vec<&str> = headings.iter().map(|(name, _)| *name).collect();
    let mut lines = vec![line(&names)];
    lines.extend(rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>())));
    lines.join("\n")
}

/// `3 rows`, `1 row`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// Digits in threes: `336,776`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An age as people say it: the two largest units, `5h 12m`.
pub(crate) fn age(micros: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s")];
    let mut rest = micros.max(0);
    let mut parts = Vec::new();
    for (length, unit) in UNITS {
        if rest >= length && parts.len() < 2 {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if parts.is_empty() { format!("{}ms", micros.max(0) / 1000) } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn stderr_of(problem: Problem, project: Option<&Path>) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal::new(&mut out, &mut err);
        if let Some(project) = project {
            terminal.set_project(project);
        }
        terminal.fail(&Failure::new(Exit::Failed, problem));
        assert!(out.is_empty(), "problems go to stderr");
        String::from_utf8(err).expect("text")
    }

    #[test]
    fn a_problem_shows_the_users_own_line() {
        let project = tempfile::tempdir().expect("temporary folder");
        std::fs::write(project.path().join("fraud.py"), "first\n    value: Feature[float] = feature()\n")
            .expect("write");
        let at = Location { file: "fraud.py".into(), line: 2 };
        let elsewhere = Location { file: "merchant.py".into(), line: 12 };
        let problem = Problem::new("plan/no-resolver", "nothing produces `Fraud.value`")
            .at(&at)
            .with_note("asked for by", "Score.value", Some(&at))
            .with_note("closest", "resolver `merchant_risk`", Some(&elsewhere))
            .with_help("pass it in `inputs=`");
        let expected = "\
error[plan/no-resolver]: nothing produces `Fraud.value`
  --> fraud.py:2
    |
  2 |     value: Feature[float] = feature()
    |
  asked for by  Score.value                fraud.py:2
  closest       resolver `merchant_risk`   merchant.py:12
  help: pass it in `inputs=`
";
        assert_eq!(stderr_of(problem.clone(), Some(project.path())), expected);
        assert!(!stderr_of(problem, None).contains("Feature[float]"), "without the file there is only its name");
    }

    #[test]
    fn scripts_get_problems_as_json_on_stdout() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal::new(&mut out, &mut err);
        terminal.set_json(true);
        terminal.warn(&[Problem::new("a/careful", "not worth a line of JSON")]);
        terminal.fail(&Failure::new(Exit::Failed, Problem::new("a/b", "no")));
        assert!(err.is_empty());
        let value: serde_json::Value = serde_json::from_slice(&out).expect("json");
        assert_eq!(value["problems"][0]["code"], "a/b");
    }

    #[test]
    fn tables_line_up_and_do_not_trail() {
        let rows = vec![vec!["a".into(), "10".into(), "x".into()], vec!["long".into(), "9".into(), String::new()]];
        let text = table(&[("name", Align::Left), ("n", Align::Right), ("note", Align::Left)], &rows);
        assert_eq!(text, "name   n  note\na     10  x\nlong   9");
    }

    #[test]
    fn numbers_and_ages_read_well() {
        assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(336_776)], ["0", "999", "1,000", "336,776"]);
        assert_eq!(age(5 * 3_600_000_000 + 12 * 60_000_000 + 1), "5h 12m");
        assert_eq!([age(1_500), age(86_400_000_000)], ["1ms", "1d"]);
    }
}
