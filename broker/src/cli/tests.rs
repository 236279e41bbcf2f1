//! The command tree as a whole.

use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_tree_is_sound() {
    command().debug_assert();
}

#[test]
fn connection_flags_stand_before_and_after_the_command() {
    for line in ["lockgate --cluster file:///c topic list --json", "lockgate topic list --json --cluster file:///c"] {
        let cli = parse(line).expect(line);
        assert!(cli.global.connection.is_given() && cli.global.json, "{line}");
    }
    assert!(!parse("lockgate topic list").expect("valid").global.connection.is_given());
}

#[test]
fn usage_errors_are_told_from_the_rest() {
    for line in [
        "lockgate topic alter orders",
        "lockgate topic create",
        "lockgate topic create orders --partitions 0",
        "lockgate topic create orders --config nonsense",
        "lockgate config set a=b",
        "lockgate group reset-offsets g",
        "lockgate group reset-offsets g --to-earliest --to-latest",
        "lockgate transaction describe",
        "lockgate transaction list --longer-than=-5",
        "lockgate transaction abort orders",
        "lockgate transaction abort orders --partition 0",
        "lockgate transaction abort orders --partition 0 --start-offset 1 --producer-id 2",
        "lockgate consume orders --group g --offset 3",
        "lockgate acl create --principal alice --topic t --operation Read",
        "lockgate acl create --principal User:alice --topic t --operation Reed",
        "lockgate quota set --user alice producer_byte_rate=fast",
        "lockgate quota set --user alice",
        "lockgate quota set --ip 10.0.0.1 --user alice connection_creation_rate=1",
        "lockgate produce orders --compression brotli",
        "lockgate topic list --cluster file:///c --properties p",
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("{line} was taken"));
        assert!(error.use_stderr() && error.exit_code() == 2, "{line}: {error}");
        assert_ne!(error.kind(), ErrorKind::UnknownArgument, "{line}: {error}");
    }
}

#[test]
fn no_password_is_ever_taken_from_the_command_line() {
    fn flags(command: &clap::Command, found: &mut Vec<String>) {
        found.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned));
        command.get_subcommands().for_each(|command| flags(command, found));
    }
    let mut found = Vec::new();
    flags(&command(), &mut found);
    for flag in found.iter().filter(|flag| flag.contains("password")) {
        assert!(flag.ends_with("-file"), "--{flag}");
    }
}

/// `docs/cli.md` is made from the command tree; `LOCKGATE_WRITE_DOCS=1 cargo test -p lockgate cli_page` writes it anew.
#[test]
fn the_cli_page_is_the_command_tree() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let wanted = page();
    if std::env::var_os("LOCKGATE_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("docs folder");
        std::fs::write(&path, &wanted).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/cli.md is out of date; LOCKGATE_WRITE_DOCS=1 cargo test -p lockgate cli_page writes it"
    );
}

fn page() -> String {
    let mut page = String::from(
        "# The command line\n\n<!-- Made from the command tree by a test; do not edit. -->\n\n\
         Every command but `serve` and `check-config` connects to a cluster, named by the connection settings below, which \
         may stand before or after the command. `--cluster` excludes the TLS and SASL settings but for \
         `--tls-server-name`. What is not given is taken from the `LOCKGATE_` variables, never mixing one cluster's \
         settings with another's.\n\nOne sentence on stderr says what went wrong. Exit status: 0 done, 1 failed, 2 wrong \
         usage, 64 wrong broker config, 130 interrupted.\n",
    );
    let root = command().term_width(100);
    section(&root, "lockgate", &mut page);
    page
}

fn section(command: &clap::Command, path: &str, page: &mut String) {
    let is_root = path == "lockgate";
    // The connection settings are told once, at the root.
    let mut shown = command.clone().bin_name(path).term_width(100).disable_help_subcommand(true);
    shown = shown.disable_version_flag(!is_root);
    let help = shown.render_long_help().to_string();
    let help: String = help.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    page.push_str(&format!("\n{} {path}\n\n```text\n{}\n```\n", if is_root { "##" } else { "###" }, help.trim_end()));
    for sub in command.get_subcommands() {
        section(sub, &format!("{path} {}", sub.get_name()), page);
    }
}
