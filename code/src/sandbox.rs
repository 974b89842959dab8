//! The system calls that a compiling child may still make: memory, time, its own threads, reading its input and
//! writing its output. No file, no socket, no process.

/// Gives up all other calls, for all threads of the process, for good. Returns whether the kernel supports
/// that.
///
/// # Errors
/// When the kernel supports the filter but refuses it.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn confine() -> Result<bool, String> {
    filter::confine()
}

/// On other machines the child keeps the rights of its user. Its bounds hold all the same.
///
/// # Errors
/// None.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(crate) fn confine() -> Result<bool, String> {
    Ok(false)
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod filter {
    use std::collections::BTreeMap;
    use std::env::consts::ARCH;

    use seccompiler::{
        BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule, apply_filter_all_threads,
    };

    /// Calls that are allowed with any arguments.
    const ALLOWED: &[libc::c_long] = &[
        // Memory.
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_brk,
        // Its existing threads.
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_getcpu,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_rseq,
        libc::SYS_set_robust_list,
        libc::SYS_membarrier,
        // The exit, also after a panic.
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        // Time and randomness.
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_getrandom,
        // Questions about input and output, and about the machine.
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_sysinfo,
        libc::SYS_uname,
    ];

    pub(super) fn confine() -> Result<bool, String> {
        let failed = |why: &dyn std::fmt::Display| format!("it cannot be confined: {why}");
        let program = program().map_err(|why| failed(&why))?;
        match apply_filter_all_threads(&program) {
            // A kernel without filters. The bounds and the user's rights still confine the child.
            Err(Error::Seccomp(why) | Error::Prctl(why))
                if why.raw_os_error() == Some(libc::ENOSYS)
                    || why.raw_os_error() == Some(libc::EINVAL) =>
            {
                Ok(false)
            }
            applied => applied.map(|()| true).map_err(|why| failed(&why)),
        }
    }

    fn program() -> Result<BpfProgram, seccompiler::BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
        // Descriptors that stayed open across the exec may be neither read nor written.
        let only = |descriptors: &[u64]| {
            let rule = |descriptor: &u64| {
                let (length, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
                SeccompRule::new(vec![SeccompCondition::new(0, length, equal, *descriptor)?])
            };
            descriptors.iter().map(rule).collect::<Result<Vec<_>, _>>()
        };
        rules.insert(libc::SYS_read, only(&[0])?);
        rules.insert(libc::SYS_write, only(&[1, 2])?);
        rules.insert(libc::SYS_writev, only(&[1, 2])?);
        // Refused as if the kernel did not have it, so that a library does without.
        let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        SeccompFilter::new(rules, refused, SeccompAction::Allow, ARCH.try_into()?)?.try_into()
    }
}
