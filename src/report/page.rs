//! `report.html`: the summary for people, in one file that needs no other.

use minijinja::Environment;
use minijinja::value::Serde;

use super::summary::Summary;
use crate::reconcile::Outcome;

/// The page. Text of the export and the server is escaped, since the template's
/// name ends with `.html`.
pub(crate) fn page(summary: &Summary) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_template("page.html", include_str!("page.html"))?;
    let names = |outcomes: &[Outcome]| outcomes.iter().map(|outcome| outcome.as_str()).collect::<Vec<_>>();
    let problems: Vec<Outcome> = Outcome::ALL.into_iter().filter(|outcome| outcome.is_problem()).collect();
    let mut context = summary.json();
    context["order"] = names(&Outcome::ALL).into();
    context["problems"] = names(&problems).into();
    environment.get_template("page.html")?.render(Serde(&context))
}
