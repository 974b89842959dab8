//! What a budget has to know of one machine instruction, read from its bytes.

use iced_x86::{Code, Decoder, DecoderOptions, Mnemonic, OpKind, Register};
use nix::libc::user_regs_struct as Registers;

/// The longest instruction has this many bytes.
pub(super) const LONGEST: usize = 15;

/// One instruction of the traced process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction {
    decoded: iced_x86::Instruction,
    /// It enters the kernel.
    pub(super) is_syscall: bool,
    /// It calls a function.
    pub(super) calls: bool,
    /// It is one instruction that stops once for each byte or word that it moves.
    pub(super) repeats: bool,
    /// It locks the memory that it writes: `lock` before it, or an exchange with memory.
    pub(super) locks: bool,
}

impl Instruction {
    /// Reads the instruction at `address` from the bytes there.
    pub(super) fn read(address: u64, bytes: &[u8]) -> Self {
        let decoded = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        let exchanges = matches!(
            decoded.code(),
            Code::Xchg_rm8_r8 | Code::Xchg_rm16_r16 | Code::Xchg_rm32_r32 | Code::Xchg_rm64_r64
        );
        Self {
            calls: matches!(decoded.mnemonic(), Mnemonic::Call),
            is_syscall: decoded.code() == Code::Syscall,
            repeats: decoded.has_rep_prefix() || decoded.has_repne_prefix(),
            locks: decoded.has_lock_prefix() || (exchanges && memory_operand(&decoded).is_some()),
            decoded,
        }
    }

    /// The address of its operand in memory, with these registers before it is executed.
    pub(super) fn address(&self, registers: &Registers) -> Option<u64> {
        let operand = memory_operand(&self.decoded)?;
        self.decoded.virtual_address(operand, 0, |register, _, _| value(register, registers))
    }
}

fn memory_operand(decoded: &iced_x86::Instruction) -> Option<u32> {
    (0..decoded.op_count()).find(|operand| decoded.op_kind(*operand) == OpKind::Memory)
}

fn value(register: Register, registers: &Registers) -> Option<u64> {
    Some(match register {
        Register::RAX => registers.rax,
        Register::RBX => registers.rbx,
        Register::RCX => registers.rcx,
        Register::RDX => registers.rdx,
        Register::RSI => registers.rsi,
        Register::RDI => registers.rdi,
        Register::RBP => registers.rbp,
        Register::RSP => registers.rsp,
        Register::R8 => registers.r8,
        Register::R9 => registers.r9,
        Register::R10 => registers.r10,
        Register::R11 => registers.r11,
        Register::R12 => registers.r12,
        Register::R13 => registers.r13,
        Register::R14 => registers.r14,
        Register::R15 => registers.r15,
        Register::FS => registers.fs_base,
        Register::GS => registers.gs_base,
        // The others have no base in 64-bit mode.
        Register::CS | Register::DS | Register::ES | Register::SS => 0,
        _ => return None,
    })
}
