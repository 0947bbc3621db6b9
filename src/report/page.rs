//! `report.html`: the summary for people, in one file that needs no other.

use minijinja::Environment;
use minijinja::value::Serde;

use super::summary::Summary;
use crate::reconcile::Outcome;

/// The page. Whatever came from the export or the server is escaped, since
/// the template's name ends with `.html`.
///
/// # Errors
///
/// What is wrong with the template: a bug.
pub fn page(summary: &Summary) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_template("page.html", include_str!("page.html"))?;
    let words = |some: fn(&Outcome) -> bool| -> Vec<&str> {
        Outcome::ALL.iter().filter(|outcome| some(outcome)).map(|outcome| outcome.word()).collect()
    };
    let mut context = summary.json();
    context["order"] = words(|_| true).into();
    context["trouble"] = words(|outcome| outcome.is_trouble()).into();
    environment.get_template("page.html")?.render(Serde(&context))
}
