//! Counts what one worker does, instruction by instruction.

use std::collections::{BTreeMap, HashMap};

use nix::libc::{self, user_regs_struct as Registers};

use super::calls::Calls;
use super::clocks::{Clocks, Reading, is_coarse};
use super::entries::{Entry, Size, entries, is_of_allocator};
use super::image::{Image, Origin};
use super::instruction::{Instruction, LONGEST};
use super::sharing::{Locked, Sharing};
use super::tracer::Tracer;

/// What has been counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Without those in the copies and compares of libc, of which each processor has its own.
    pub(super) instructions: u64,
    /// In these.
    pub(super) in_copies: u64,
    pub(super) bytes_copied: u64,
    pub(super) allocations: u64,
    pub(super) clock_reads: u64,
    /// Of the coarse clocks.
    pub(super) coarse_reads: u64,
    /// By their number.
    pub(super) syscalls: BTreeMap<u64, u64>,
    pub(super) wakes: u64,
    pub(super) polls: u64,
    pub(super) locked: u64,
    /// Instructions by their address.
    pub(super) at: HashMap<u64, u64>,
    /// Instructions of functions with all that they called, by the start of the function.
    pub(super) inclusive: HashMap<u64, u64>,
    /// Where functions were called that count, each with where its callers were called: innermost first.
    pub(super) callers: HashMap<(Entry, Vec<u64>), u64>,
    /// Memory that requests of two connections have written under a lock, by its address.
    pub(super) shared: BTreeMap<u64, Locked>,
}

impl Counts {
    /// What two like requests do alike: clock reads, system calls, and tasks woken and polled.
    pub(super) fn events(&self) -> [u64; 5] {
        let syscalls = self.syscalls.values().sum();
        [self.clock_reads, self.coarse_reads, syscalls, self.wakes, self.polls]
    }
}

/// A block of memory that is being asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// Where the stack is until it is there.
    stack: u64,
    size: u64,
}

/// Counts the steps of a traced host.
#[derive(Debug)]
pub(super) struct Counter<'a> {
    tracer: &'a Tracer,
    image: &'a Image,
    entries: HashMap<u64, Entry>,
    instructions: HashMap<u64, Instruction>,
    /// The instruction before.
    previous: u64,
    calls: Calls,
    clocks: Clocks,
    /// All instructions so far, which is the time.
    executed: u64,
    reading: Option<Reading>,
    /// Where the stack is until the bytes are copied.
    copying: Option<u64>,
    asked: Option<Asked>,
    sharing: Sharing,
    counts: Counts,
}

impl<'a> Counter<'a> {
    pub(super) fn new(tracer: &'a Tracer, image: &'a Image) -> Self {
        Self {
            tracer,
            image,
            entries: entries(image),
            instructions: HashMap::new(),
            previous: 0,
            calls: Calls::default(),
            clocks: Clocks::default(),
            executed: 0,
            reading: None,
            copying: None,
            asked: None,
            sharing: Sharing::default(),
            counts: Counts::default(),
        }
    }

    /// What has been counted since the last time; now it begins anew.
    pub(super) fn take_counts(&mut self) -> Counts {
        let inclusive = std::mem::take(&mut self.calls.inclusive);
        Counts { inclusive, shared: self.sharing.take(), ..std::mem::take(&mut self.counts) }
    }

    /// Whether the worker is about to wait for events.
    pub(super) fn is_at_wait(&mut self, registers: &Registers) -> bool {
        let waits = match registers.rax.cast_signed() {
            libc::SYS_epoll_wait | libc::SYS_epoll_pwait => registers.r10 != 0,
            _ => false,
        };
        waits && self.instruction(registers.rip).is_syscall
    }

    fn instruction(&mut self, address: u64) -> Instruction {
        let tracer = self.tracer;
        *self.instructions.entry(address).or_insert_with(|| {
            let mut bytes = [0; LONGEST];
            let length = tracer.read(address, &mut bytes).expect("it is about to be executed");
            Instruction::read(address, &bytes[..length])
        })
    }

    /// Counts the instruction that is executed next.
    pub(super) fn count(&mut self, registers: &Registers) {
        let at = registers.rip;
        let instruction = self.instruction(at);
        if instruction.repeats && at == self.previous {
            return;
        }
        self.follow(registers);
        if self.copying.is_some() {
            self.counts.in_copies += 1;
        } else {
            self.counts.instructions += 1;
            self.executed += 1;
            *self.counts.at.entry(at).or_default() += 1;
        }
        if let Some(entry) = self.entries.get(&at) {
            self.enter(*entry, registers);
        }
        if instruction.is_syscall {
            self.system(registers);
        }
        if instruction.locks {
            self.counts.locked += 1;
            let on_stack = self.image.mapping_of(registers.rsp);
            if let Some(address) = instruction.address(registers)
                && self.image.mapping_of(address) != on_stack
            {
                self.sharing.lock(address, at);
            }
        }
        self.previous = at;
    }

    /// Notices what has been called, and what has returned.
    fn follow(&mut self, registers: &Registers) {
        let (stack, now) = (registers.rsp, self.executed);
        self.calls.follow(stack, now, self.image);
        self.sharing.follow(stack);
        if self.copying.is_some_and(|end| stack > end) {
            self.copying = None;
        }
        if let Some(asked) = self.asked.take_if(|asked| stack > asked.stack) {
            self.sharing.allocate(registers.rax, asked.size);
        }
        if let Some(reading) = self.reading.take_if(|reading| stack > reading.stack) {
            self.clocks.set(reading, now, self.tracer);
        }
        if self.instructions.get(&self.previous).is_some_and(|previous| previous.calls) {
            let function = self.image.symbol(registers.rip).map_or(0, |symbol| symbol.start);
            self.calls.begin(function, self.previous, now);
        }
    }

    fn enter(&mut self, entry: Entry, registers: &Registers) {
        let (stack, [first, second, third]) =
            (registers.rsp, [registers.rdi, registers.rsi, registers.rdx]);
        let inside_allocator = self.is_inside_allocator();
        let counts = &mut self.counts;
        match entry {
            Entry::Allocate(_) | Entry::Free if inside_allocator => return,
            Entry::Allocate(size) => {
                counts.allocations += 1;
                let size = match size {
                    Size::First => first,
                    Size::Second => second,
                    Size::Product => first.saturating_mul(second),
                };
                self.asked = Some(Asked { stack, size });
            }
            Entry::Free => {
                self.sharing.free(first);
                return;
            }
            Entry::Copy | Entry::Compare if self.copying.is_some() => return,
            Entry::Copy => {
                counts.bytes_copied += third;
                self.copying = Some(stack);
            }
            Entry::Compare => {
                self.copying = Some(stack);
                return;
            }
            Entry::ReadClock => {
                self.reading = Some(Reading { stack, clock: first, to: second });
                let coarse = is_coarse(first);
                *(if coarse { &mut counts.coarse_reads } else { &mut counts.clock_reads }) += 1;
            }
            Entry::WakeTask => counts.wakes += 1,
            Entry::PollTask => {
                counts.polls += 1;
                self.sharing.poll(first, stack);
            }
        }
        let weight = if entry == Entry::Copy { third } else { 1 };
        *self.counts.callers.entry((entry, self.calls.chain())).or_default() += weight;
    }

    /// One function of an allocator uses another.
    fn is_inside_allocator(&self) -> bool {
        self.image.symbol(self.previous).is_some_and(|symbol| is_of_allocator(&symbol.name))
    }

    fn system(&mut self, registers: &Registers) {
        let number = registers.rax;
        *self.counts.syscalls.entry(number).or_default() += 1;
        match number.cast_signed() {
            libc::SYS_recvfrom | libc::SYS_read | libc::SYS_readv | libc::SYS_recvmsg => {
                self.sharing.read(registers.rdi);
            }
            libc::SYS_clock_gettime if !self.is_in_vdso(registers.rip) => {
                self.counts.clock_reads += 1;
            }
            _ => {}
        }
    }

    fn is_in_vdso(&self, address: u64) -> bool {
        self.image.symbol(address).is_some_and(|symbol| symbol.origin == Origin::Vdso)
    }
}
