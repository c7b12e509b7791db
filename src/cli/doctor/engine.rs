//! What the engine is: flavour, version, templates, disks, rights, and what is in the way there.

use std::{sync::Arc, time::Duration};

use super::{Doctor, Harm, good};
use crate::{
    aws::Access,
    checkpoint::{self, Reader, indices::Known},
    cli::{assemble, failure::Failure, presence},
    normalize::{Fields, Rules},
    report::{Tally, figures},
    shutdown::shutdown_channel,
    sink::{Conflict, Disk, Engine, Examination, Fill, Rights, TemplateState},
};

/// How long an engine in trouble is waited for: a person waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an engine may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

impl Doctor<'_> {
    pub(super) async fn engine(
        &mut self,
        rules: Arc<Rules>,
        caller: Option<&Access>,
    ) -> Result<(), Failure> {
        let plan = self.plan;
        let mut target = plan.sink_target();
        (target.patience, target.timeout) = (PATIENCE, ANSWER);
        if plan.aws_auth {
            // Who cannot even try to sign was told.
            let Some(caller) = caller else { return Ok(()) };
            target.signing = Some(assemble::signing(plan, caller));
        }
        let fields = Arc::new(Fields::new(Arc::clone(&rules), plan.fields, plan.max_fields));
        let (_raise, stop) = shutdown_channel();
        let mut tally = Tally::default();
        tally.waits = self.waits.clone();
        let tally = Arc::new(tally);
        let template = rules.template().clone();
        match Engine::connect(target, template, fields, self.log.clone(), tally, stop).await {
            Ok(engine) => {
                let found = engine.examine(plan.index.as_str()).await;
                self.found(&engine.describe().to_string(), &found)?;
                self.presence(&engine)
            }
            Err(error) => self.bad(Harm::Stops, &error.into()),
        }
    }

    fn found(&mut self, what: &str, found: &Examination) -> Result<(), Failure> {
        let name = format!("engine {}", self.plan.target.url.as_str().trim_end_matches('/'));
        good(&name, what)?;
        let index = &self.plan.index;
        let templates = match found.templates {
            TemplateState::Current => "as this version wants them",
            TemplateState::ToBePut => "the load puts them",
            TemplateState::Unknown => "the engine knows none; documents are sent without",
        };
        good(&format!("templates of '{index}'"), templates)?;
        match &found.disk {
            Some(disk) => self.disk(disk)?,
            None => good("disks", "the engine does not tell this user; a load need not know")?,
        }
        for conflict in &found.conflicts {
            self.conflict(conflict)?;
        }
        self.rights(&found.rights)
    }

    /// Tells what is in the way of our documents.
    fn conflict(&mut self, conflict: &Conflict) -> Result<(), Failure> {
        let harm = match conflict {
            Conflict::LegacyTemplate { .. } => return good("templates", &conflict.told()),
            Conflict::SamePriority { .. } | Conflict::DataStream { .. } => Harm::Stops,
            Conflict::Blocked { .. } if conflict.is_of_disk() => Harm::Stops,
            Conflict::Shards { open, most } if open >= most => Harm::Stops,
            _ => Harm::Lessens,
        };
        self.bad(harm, &Failure::person(conflict.told()).hint(conflict.advice()))
    }

    /// Compares what was loaded with what the engine holds.
    fn presence(&mut self, engine: &Engine) -> Result<(), Failure> {
        let path = &self.plan.checkpoint;
        // Whether the file can be used is looked at elsewhere.
        let Ok(reader) = Reader::open(path) else { return Ok(()) };
        if let (Ok(Some(theirs)), Some(ours)) = (reader.cluster(), engine.cluster())
            && theirs != ours
        {
            let (path, target) = (path.clone(), self.plan.target_name());
            let ours = ours.to_owned();
            let other = checkpoint::Error::OtherCluster { path, target, theirs, ours };
            return self.bad(Harm::Stops, &other.into());
        }
        let (Some(inventory), Ok(mut indices)) = (engine.inventory(), reader.indices()) else {
            return Ok(());
        };
        indices.compare(inventory, self.now.as_millisecond());
        for (name, missing) in indices.open() {
            let failure = Failure::person(format!("{name}: {}", presence::what(missing)));
            self.bad(Harm::Lessens, &failure.hint(presence::way_out(self.plan, name)))?;
        }
        if indices.open().next().is_some() || indices.known.is_empty() {
            return Ok(());
        }
        let documents = indices.known.values().map(Known::expected).sum();
        let number = indices.known.len() as u64;
        let indices = if number == 1 { "index" } else { "indices" };
        good(
            "loaded before",
            &format!(
                "{} {indices} with {}, all there",
                figures::count(number),
                figures::counted(documents, "document")
            ),
        )
    }

    fn disk(&mut self, disk: &Disk) -> Result<(), Failure> {
        let name = format!("disk of {}", disk.node);
        let room = format!("{} of {} free", figures::bytes(disk.free), figures::bytes(disk.bytes));
        let (harm, what) = match disk.fill {
            Fill::Fine => return good(&name, &room),
            Fill::High => {
                (Harm::Lessens, "above the high watermark: new indices find no place on it")
            }
            Fill::Flooded => {
                (Harm::Stops, "above the flood-stage watermark: the engine blocks writes")
            }
        };
        let failure = Failure::person(format!("{name} is {what} ({room})"));
        self.bad(
            harm,
            &failure.hint("make room on it, or add a node; the engine then goes on by itself"),
        )
    }

    fn rights(&mut self, rights: &Rights) -> Result<(), Failure> {
        match rights {
            Rights::Unknown => good(
                "permissions",
                "the engine has no logins, or does not tell; the first write shows",
            ),
            Rights::Enough { user } => {
                good("permissions", &format!("{user} may do all that a load does"))
            }
            Rights::Named { user, roles } => {
                let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") };
                let text = format!(
                    "{user}, with {roles}; whether they are enough shows at the first write (least: policy/opensearch.json)"
                );
                good("permissions", &text)
            }
            Rights::Missing { user, privileges } => {
                let failure =
                    Failure::person(format!("{user} lacks permissions: {}", privileges.join(", ")));
                let fix = "give this user the role of policy/elasticsearch.json, with the names of your indices";
                self.bad(Harm::Stops, &failure.hint(fix))
            }
        }
    }
}
