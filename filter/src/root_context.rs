//! The root context: one plugin configuration, and the end of every call that was made under it.
//!
//! Owns loading the configuration and handing answers of sidecars to the core. It outlives the streams of its
//! clients, and, while calls are under way, the configuration that made it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel, MapType};
use ringside_filter_core::{
    ANSWER_BYTES_MAX, Event, Fanouts, HEADER_SERIES, HEADERS_WRITTEN, Reply, Splitter, TICK_MS, load,
};

use crate::effects::{Pending, TURN, Worker, now_ns};
use crate::header_map::HeaderMap;
use crate::http_context::Http;
use crate::shared_data::HostData;
use crate::stats::Stats;

thread_local! {
    /// Outlives configurations: a changed limit is no reason to forget where series go.
    static SPLITTER: Rc<RefCell<Splitter>> = Rc::new(RefCell::new(Splitter::seeded(now_ns())));
}

struct Root {
    id: u32,
    worker: Option<Rc<Worker>>,
    last_tick: Option<SystemTime>,
}

pub(crate) fn create(id: u32) -> Box<dyn RootContext> {
    Box::new(Root { id, worker: None, last_tick: None })
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_bytes: usize, _trailers: usize) {
        let Some(worker) = &self.worker else { return };
        let Some(Pending { call, asks_written, asks_series }) = worker.take_call(token) else { return };
        // Without headers the stream was reset.
        let headers = (headers > 0).then(|| HeaderMap::read(MapType::HttpCallResponseHeaders));
        let header = |name| headers.as_ref()?.get(name);
        let status = header(":status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let written = HEADERS_WRITTEN.map(|name| if asks_written { header(name) } else { None });
        let body = match body_bytes.min(ANSWER_BYTES_MAX + 1) {
            0 => None,
            bytes => hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, bytes).ok().flatten(),
        };
        let reply = Reply {
            status,
            content_type: header("content-type"),
            written,
            series: if asks_series { header(HEADER_SERIES) } else { None },
            body: body.as_deref().unwrap_or_default(),
        };
        worker.on_root(Event::Answered { call, reply });
    }

    fn on_done(&mut self) -> bool {
        let Some(worker) = &self.worker else { return true };
        if worker.is_idle() {
            worker.end();
            return true;
        }
        // Late writes go on. The core says when the last has ended.
        worker.on_root(Event::Drain);
        false
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _bytes: usize) -> bool {
        let json = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok().flatten();
        let stats = Stats::define();
        let (config, loaded) = load(&HostData, &json.unwrap_or_default());
        stats.loaded(loaded);
        match config {
            Ok(config) => {
                stats.configured(&config, loaded);
                if let (true, Some(refusal)) = (loaded.refusal, &config.refusal) {
                    let text =
                        format!("ringside: a change is refused, the last good one stays: {}", refusal.reason);
                    let _ = hostcalls::log(LogLevel::Error, &text);
                }
                stats.hand_over();
                let _ = hostcalls::set_tick_period(Duration::from_millis(TICK_MS.into()));
                let fanouts = Fanouts::sharing(config, SPLITTER.with(Rc::clone));
                self.worker = Some(Worker::new(self.id, fanouts, stats));
                true
            }
            Err(error) => {
                stats.refused(loaded);
                stats.hand_over();
                let _ = hostcalls::log(LogLevel::Error, &format!("ringside: configuration refused: {error}"));
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let (Some(worker), Ok(now)) = (&self.worker, hostcalls::get_current_time()) else { return };
        let elapsed = now.duration_since(self.last_tick.unwrap_or(now)).unwrap_or_default();
        self.last_tick = Some(now);
        worker.on_root(Event::Tick { elapsed_ms: elapsed.as_millis() as u64 });
        worker.show();
    }

    fn on_queue_ready(&mut self, queue_id: u32) {
        if let (TURN, Some(worker)) = (queue_id, &self.worker) {
            worker.take_turn();
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http::new(id, self.worker.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
