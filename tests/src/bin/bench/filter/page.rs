//! The results as tables, and as the committed page.

use super::{Cost, Filter, Path3, REPLICATION_FACTOR, TURN, What};
use crate::page::align;
use crate::sender::CONNECTIONS;

/// The table of one ring.
pub(super) fn filter(filter: &Filter) -> String {
    let costs =
        [What::Core, What::Wasm, What::Mirror, What::Plain].map(|what| filter.costs.get(&what).copied());
    let head = ["", "core, native", "filter in Envoy", "Envoy mirroring", "Envoy without it"];
    let ratios = ["filter ÷ core", "filter ÷ mirroring", "filter ÷ without it"];
    let mut rows: Vec<Vec<String>> = vec![head.into_iter().chain(ratios).map(str::to_owned).collect()];
    let mut row = |name: &str, value: &dyn Fn(&Cost) -> Option<f64>, show: &dyn Fn(f64) -> String| {
        let values = costs.map(|cost| value(&cost?));
        let ratio = |other: Option<f64>| values[1].zip(other).map(|(ours, other)| ours / other);
        let ratios = [ratio(values[0]), ratio(values[2]), ratio(values[3])];
        let cells = values.map(|value| value.map(show));
        let ratios = ratios.map(|ratio| ratio.map(|ratio| format!("{ratio:.2}")));
        let cells = cells.into_iter().chain(ratios).map(|cell| cell.unwrap_or_else(|| "n/a".to_owned()));
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    row("samples per CPU-second", &|cost| Some(cost.samples_per_cpu_second()), &kilo);
    row("CPU per million samples, ms", &|cost| Some(cost.cpu_ms_per_million()), &whole);
    row("request, p50, ms", &|cost| Some(cost.quantiles?.0), &fine);
    row("request, p99, ms", &|cost| Some(cost.quantiles?.1), &fine);
    let turns = |name: &str, value: &dyn Fn(&Cost) -> usize, cells: &mut Vec<Vec<String>>| {
        let values =
            costs.map(|cost| cost.filter(|cost| cost.turns.1 > 0).map(|cost| value(&cost).to_string()));
        let values = values.into_iter().map(|cell| cell.unwrap_or_else(|| "n/a".to_owned()));
        let row = std::iter::once(name.to_owned()).chain(values).chain(std::iter::repeat_n(String::new(), 3));
        cells.push(row.collect());
    };
    let all_turns = costs.map(|cost| {
        let cost = cost.filter(|cost| cost.turns.1 > 0)?;
        Some(kilo(cost.samples / cost.cpu_of_all.as_secs_f64()))
    });
    let all_turns = all_turns.into_iter().map(|cell| cell.unwrap_or_else(|| "n/a".to_owned()));
    let name = std::iter::once("the same of all turns".to_owned());
    rows.push(name.chain(all_turns).chain(std::iter::repeat_n(String::new(), 3)).collect());
    turns("turns", &|cost| cost.turns.1, &mut rows);
    turns("turns that count", &|cost| cost.turns.0, &mut rows);
    let form = if filter.endpoints == REPLICATION_FACTOR { "unchanged" } else { "split" };
    let first_sight = filter.first_sight.filter(|_| filter.endpoints != REPLICATION_FACTOR);
    let first_sight = first_sight.map(|cost| {
        let (samples, cpu) = (kilo(cost.samples_per_cpu_second()), whole(cost.cpu_ms_per_million()));
        format!("\nThe core, native, with series that it has not seen before: {samples}, {cpu} ms.\n")
    });
    let first_sight = first_sight.unwrap_or_default();
    format!("### N={}: bodies are {form}\n\n{}{first_sight}", filter.endpoints, align(&rows))
}

/// The table of the whole path.
pub(super) fn path(path: &Path3) -> String {
    let both = Cost { cpu: path.envoy.cpu + path.sidecars.cpu, ..path.envoy };
    let mut rows = vec![["", "Envoy", "three sidecars", "together"].map(str::to_owned).to_vec()];
    let costs = [&path.envoy, &path.sidecars, &both];
    let mut row = |name: &str, cells: [String; 3]| {
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    row("samples per CPU-second", costs.map(|cost| kilo(cost.samples_per_cpu_second())));
    row("CPU per million samples, ms", costs.map(|cost| whole(cost.cpu_ms_per_million())));
    let (p50, p99) = both.quantiles.unwrap_or_default();
    let only = |value: f64| [String::new(), String::new(), fine(value)];
    row("request, p50, ms", only(p50));
    row("request, p99, ms", only(p99));
    format!("### The whole path: N={REPLICATION_FACTOR}, every sample on three sidecars\n\n{}", align(&rows))
}

/// The whole page.
pub(super) fn page(facts: &[String], filters: &[Filter], whole: &Path3, bytes: (usize, usize)) -> String {
    let facts: String = facts.iter().map(|fact| format!("- {fact}\n")).collect();
    let filters: String = filters.iter().map(|one| format!("{}\n", filter(one))).collect();
    format!(
        "# Filter benchmark

Written by `make bench-filter`, which builds what it needs and runs everything below in one go.

{facts}
## How

- Requests of remote write 1.0 with 2,000 series, one sample and ten labels each, {} bytes a series, {} compressed;
  {CONNECTIONS} under way over HTTP/1.1, as fast as answers come. Replication factor {REPLICATION_FACTOR}.
- One Envoy with one worker on a core of its own; the generator has the other core, and so have the receivers of the
  parts, which take everything. CPU time is Envoy's own, all threads, in the program and in the kernel. Envoy with the
  filter and those without it get the load in turns of {TURN} scrapes, and the cost of each is that of its median turn,
  among those in which the host of this machine left the core to Envoy all the time; that of all turns stands beside it.
  Latencies are those of all requests.
- *Core, native* is the filter's code as this machine runs it, without Envoy and without a network. *Envoy without it*
  is the same configuration with the filter taken out: each body goes to one receiver, once. *Envoy mirroring* sends it to
  three, as the filter does, but answers with what one of them says and knows no tenant: what to fan out costs by itself.
- The load is 20,000 series, scrape after scrape: the filter remembers where a series went.
- On the whole path, Envoy and three sidecars with `--wal.sync=group` share the core.

## Results

{filters}{}",
        bytes.0,
        bytes.1,
        path(whole)
    )
}

fn kilo(value: f64) -> String {
    format!("{:.0} k", value / 1000.0)
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn fine(value: f64) -> String {
    format!("{value:.2}")
}
