//! Settings from a file: what a flag of `serve` or its environment twin does not say, a TOML file may.

use crate::error::{Error, Result};
use clap::{ArgAction, Command};
use std::path::Path;
use toml::{Table, Value};

/// The verb whose flags a file may set, beside those of all verbs.
pub(super) const VERB: &str = "serve";
/// The flag that names the file.
pub(super) const FLAG: &str = "config";

/// The command line with the file's values as defaults, so that flags and the environment come first.
pub(super) fn with_file(command: Command, path: &Path) -> Result<Command> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let wrong = |what: String, fix: String| Error::invalid(format!("{}: {what}", path.display()), fix);
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        wrong(e.to_string().trim_end().to_owned(), "write TOML: http = \"127.0.0.1:8080\"".to_owned())
    })?;
    let mut command = command;
    for (key, value) in table {
        let id = key.replace('-', "_");
        let verb = command.find_subcommand(VERB);
        let of_verb = verb.is_some_and(|verb| verb.get_arguments().any(|arg| arg.get_id() == id.as_str()));
        let of_all = command.get_arguments().any(|arg| arg.get_id() == id.as_str() && arg.is_global_set());
        if id == FLAG || !(of_verb || of_all) {
            return Err(wrong(format!("no setting {key:?}"), format!("there are: {}", names(&command))));
        }
        let values = texts(&value).ok_or_else(|| {
            wrong(
                format!("{key} is of type {}", value.type_str()),
                "give text, a number, true, false, or a list of them".into(),
            )
        })?;
        let set = |arg: clap::Arg| match arg.get_action() {
            ArgAction::Append => arg.default_values(values.clone()),
            _ => arg.default_value(values.join(",")),
        };
        command = match of_verb {
            true => command.mut_subcommand(VERB, |verb| verb.mut_arg(id.as_str(), set)),
            false => command.mut_arg(id.as_str(), set),
        };
    }
    Ok(command)
}

/// Every key that a file may have.
fn names(command: &Command) -> String {
    let verb = command.find_subcommand(VERB).into_iter().flat_map(Command::get_arguments);
    let all = command.get_arguments().filter(|arg| arg.is_global_set());
    let ids =
        verb.chain(all).map(|arg| arg.get_id().as_str()).filter(|id| !["help", "version", FLAG].contains(id));
    let mut ids: Vec<String> = ids.map(|id| id.replace('_', "-")).collect();
    ids.sort_unstable();
    ids.join(", ")
}

/// A value as the command line would have it; None for tables and dates.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(n) => Some(vec![n.to_string()]),
        Value::Float(n) => Some(vec![n.to_string()]),
        Value::Boolean(b) => Some(vec![b.to_string()]),
        Value::Array(all) => all.iter().map(|one| texts(one)?.pop()).collect(),
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parsed(text: &str, args: &[&str]) -> Result<clap::ArgMatches> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let command = with_file(super::super::Cli::command(), file.path())?;
        let args = ["eyeshot", "serve"].iter().chain(args);
        Ok(command.try_get_matches_from(args).unwrap_or_else(|e| panic!("{e}")))
    }

    #[test]
    fn a_file_says_what_flags_do_not() {
        let text = "queue = 7\nallow-urls = true\napi_key = ['key-number-1', 'key-number-2']\ndata = '/there'\ntimeout = 9";
        let matches = parsed(text, &["--timeout", "5"]).unwrap();
        let serve = matches.subcommand_matches("serve").unwrap();
        assert_eq!((serve.get_one::<usize>("queue"), serve.get_flag("allow_urls")), (Some(&7), true));
        assert_eq!(serve.get_one::<u64>("timeout"), Some(&5), "the flag comes first");
        assert_eq!(serve.get_many::<String>("api_key").unwrap().len(), 2);
        assert_eq!(serve.get_one::<std::path::PathBuf>("data").unwrap(), Path::new("/there"));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, part: &str| {
            let said = parsed(text, &[]).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        };
        check("quue = 7", "queue");
        check("config = 'x'", "no setting");
        check("queue = ", "TOML");
        check("[queue]\na = 1", "give text");
        // Every flag of the server has a key.
        let command = super::super::Cli::command();
        let serve = command.find_subcommand(VERB).unwrap();
        let flags = serve
            .get_arguments()
            .filter(|arg| arg.get_long().is_some_and(|long| long != "help" && long != FLAG));
        let names = names(&command);
        flags.for_each(|arg| assert!(names.contains(arg.get_long().unwrap()), "{arg}"));
    }
}
