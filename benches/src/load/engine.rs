//! Drives agents until a window has passed and their answers are in, or a limit is reached.

use anyhow::{Context, Result};
use rustix::event::epoll;

use super::Recorder;
use crate::clock::now_ns;
use crate::wire::Connection;

/// One connection and what is done with it.
pub trait Agent {
    fn connection(&mut self) -> &mut Connection;
    /// Called all the time: send what is due.
    fn tick(&mut self, now: u64, recorder: &mut Recorder) -> Result<()>;
    /// A whole answer has come.
    fn answer(&mut self, now: u64, frame: &[u8], recorder: &mut Recorder) -> Result<()>;
    /// Nothing more is expected.
    fn is_done(&self) -> bool;
}

pub struct Engine {
    agents: Vec<Box<dyn Agent>>,
    epoll: rustix::fd::OwnedFd,
}

/// How long after the window answers are waited for.
const DRAIN_NS: u64 = 10_000_000_000;

impl Engine {
    pub fn new() -> Result<Engine> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Engine { agents: Vec::new(), epoll })
    }

    pub fn add(&mut self, mut agent: Box<dyn Agent>) -> Result<()> {
        let index = self.agents.len() as u64;
        let data = epoll::EventData::new_u64(index);
        let stream = agent.connection().stream();
        epoll::add(&self.epoll, stream, data, epoll::EventFlags::IN)?;
        self.agents.push(agent);
        Ok(())
    }

    /// Runs until the recorder's window is over and every agent is done. `at_start` and `at_end`
    /// are called once each, when the window opens and closes.
    pub fn run(
        &mut self,
        recorder: &mut Recorder,
        mut at_start: impl FnMut(),
        mut at_end: impl FnMut(),
    ) -> Result<()> {
        let window = recorder.window;
        let (mut opened, mut closed) = (false, false);
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut last = now_ns();
        loop {
            let now = now_ns();
            if window.contains(now) {
                recorder.longest_turn_ns = recorder.longest_turn_ns.max(now - last);
            }
            last = now;
            if !opened && now >= window.start_ns {
                opened = true;
                at_start();
            }
            if !closed && now >= window.end_ns {
                closed = true;
                at_end();
            }
            let over = now > window.end_ns;
            if over && (self.agents.iter().all(|a| a.is_done()) || now > window.end_ns + DRAIN_NS) {
                return Ok(());
            }
            for agent in &mut self.agents {
                agent.tick(now, recorder)?;
                if agent.connection().has_unsent() {
                    agent.connection().flush()?;
                }
            }
            events.clear();
            let capacity = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&self.epoll, capacity, Some(&zero))?;
            for event in &events {
                let agent = &mut self.agents[event.data.u64() as usize];
                receive(agent.as_mut(), recorder).context("reading answers")?;
            }
        }
    }
}

fn receive(agent: &mut dyn Agent, recorder: &mut Recorder) -> Result<()> {
    loop {
        let drained = agent.connection().receive()?;
        let now = now_ns();
        let mut received = agent.connection().take_received();
        let mut outcome = Ok(());
        while let Some(frame) = received.next_frame() {
            outcome = agent.answer(now, frame, recorder);
            if outcome.is_err() {
                break;
            }
        }
        agent.connection().give_back(received);
        outcome?;
        if drained {
            return Ok(());
        }
    }
}
