//! `users.tf`: users with a SCRAM password. A broker tells nobody a password, so a variable gives it where a user is made anew.

use std::collections::BTreeSet;

use lockgate_client::Admin;
use lockgate_client::admin::{ScramCredential, ScramMechanism};

use super::super::failure::Outcome;
use super::hcl::{Block, Expression, is_kept, quoted};
use super::labels::labels;
use super::page::{Exported, Page};

pub(super) const FILE: &str = "users.tf";
const KIND: &str = "lockgate_user";

const PREAMBLE: &str = r#"# Passwords cannot be read from a cluster. An import needs none and leaves them as they are; a cluster where these users are
# made needs one for each: TF_VAR_user_passwords='{"alice": "..."}'. It reaches neither plan nor state.
variable "user_passwords" {
  description = "Passwords of the users, by name"
  type        = map(string)
  default     = {}
  sensitive   = true
  ephemeral   = true
}
"#;

/// Credentials that one resource holds: those of a user that have the same number of iterations.
struct Credentials {
    user: String,
    mechanisms: BTreeSet<ScramMechanism>,
    iterations: i32,
    /// All that the user has.
    complete: bool,
}

pub(super) async fn page(admin: &Admin) -> Outcome<Page> {
    let mut page = Page::new(FILE, "the users that log in with a SCRAM password");
    let described = admin.describe_users(None).await;
    let Some(users) = page.keep("the users", described)? else { return Ok(page) };
    let mut known = Vec::new();
    for (user, credentials) in users {
        // Who may see none gets one answer without a name from Apache Kafka.
        let what = if user.is_empty() { "the users".to_owned() } else { format!("the user {user:?}") };
        if let Some(credentials) = page.keep(&what, credentials)? {
            known.push((user, credentials));
        }
    }
    fill(&mut page, known);
    Ok(page)
}

fn fill(page: &mut Page, users: Vec<(String, Vec<ScramCredential>)>) {
    page.preamble = Some(PREAMBLE);
    let mut exported = Vec::new();
    for (user, credentials) in users {
        if is_kept(&user) {
            exported.extend(grouped(&user, &credentials));
        } else {
            page.left_out.push(format!("the user {user:?}: Terraform would change the name (NFC)."));
        }
    }
    let words: Vec<_> = exported.iter().map(words).collect();
    for (credentials, label) in exported.into_iter().zip(labels(&words)) {
        let id = id(&credentials);
        let block = Block::resource(KIND, &label, attributes(credentials));
        page.blocks.push(Exported { kind: KIND, label, id, block });
    }
}

/// A resource has one number of iterations, so where the mechanisms differ in it each has a resource of its own. The same
/// where the user's name looks like the import id of one mechanism.
fn grouped(user: &str, credentials: &[ScramCredential]) -> Vec<Credentials> {
    let of = |credentials: &[ScramCredential], complete| Credentials {
        user: user.to_owned(),
        mechanisms: credentials.iter().map(|credential| credential.mechanism).collect(),
        iterations: credentials[0].iterations,
        complete,
    };
    let is_ambiguous = user.rsplit_once('|').is_some_and(|(_, end)| end.parse::<ScramMechanism>().is_ok());
    let mut sorted = credentials.to_vec();
    sorted.sort_by_key(|credential| credential.mechanism);
    match sorted.as_slice() {
        [] => Vec::new(),
        [first, rest @ ..] if !is_ambiguous && rest.iter().all(|other| other.iterations == first.iterations) => {
            vec![of(&sorted, true)]
        }
        each => each.iter().map(|credential| of(std::slice::from_ref(credential), false)).collect(),
    }
}

fn mechanisms(credentials: &Credentials) -> Vec<String> {
    credentials.mechanisms.iter().map(|mechanism| mechanism.name().to_owned()).collect()
}

fn words(credentials: &Credentials) -> String {
    let user = &credentials.user;
    if credentials.complete { user.clone() } else { format!("{user} {}", mechanisms(credentials).join(" ")) }
}

/// The provider's import id.
fn id(credentials: &Credentials) -> String {
    let user = &credentials.user;
    if credentials.complete { user.clone() } else { format!("{user}|{}", mechanisms(credentials).join("|")) }
}

fn attributes(credentials: Credentials) -> Vec<(&'static str, Expression)> {
    vec![
        ("username", Expression::Text(credentials.user.clone())),
        ("mechanisms", Expression::Texts(mechanisms(&credentials))),
        ("iterations", Expression::Bare(credentials.iterations.to_string())),
        ("password_wo", Expression::Bare(format!("lookup(var.user_passwords, {}, null)", quoted(&credentials.user)))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_256: ScramCredential = ScramCredential { mechanism: ScramMechanism::Sha256, iterations: 4096 };
    const SHA_512: ScramCredential = ScramCredential { mechanism: ScramMechanism::Sha512, iterations: 4096 };

    fn filled(users: &[(&str, &[ScramCredential])]) -> Page {
        let mut page = Page::new(FILE, "users");
        fill(&mut page, users.iter().map(|(user, credentials)| ((*user).to_owned(), credentials.to_vec())).collect());
        page
    }

    fn ids(page: &Page) -> Vec<(&str, &str)> {
        page.blocks.iter().map(|exported| (exported.label.as_str(), exported.id.as_str())).collect()
    }

    #[test]
    fn a_user_is_one_resource_without_a_password() {
        let page = filled(&[("alice", &[SHA_512, SHA_256])]);
        let wanted = r#"resource "lockgate_user" "alice" {
  username    = "alice"
  mechanisms  = ["SCRAM-SHA-256", "SCRAM-SHA-512"]
  iterations  = 4096
  password_wo = lookup(var.user_passwords, "alice", null)
}
"#;
        assert_eq!(page.blocks[0].block.to_string(), wanted);
        assert_eq!(ids(&page), [("alice", "alice")]);
    }

    #[test]
    fn different_iterations_and_odd_names_are_one_resource_for_each_mechanism() {
        let more = ScramCredential { iterations: 8192, ..SHA_512 };
        let page = filled(&[("a", &[SHA_256, more]), ("b|SCRAM-SHA-256", &[SHA_512]), ("c|d", &[SHA_512])]);
        let wanted = [
            ("a_SCRAM_SHA_256", "a|SCRAM-SHA-256"),
            ("a_SCRAM_SHA_512", "a|SCRAM-SHA-512"),
            ("b_SCRAM_SHA_256_SCRAM_SHA_512", "b|SCRAM-SHA-256|SCRAM-SHA-512"),
            ("c_d", "c|d"),
        ];
        assert_eq!(ids(&page), wanted);
    }

    #[test]
    fn a_name_that_terraform_would_change_is_told() {
        let page = filled(&[("e\u{301}", &[SHA_512])]);
        assert!(page.blocks.is_empty() && page.left_out[0].contains("NFC"));
    }
}
