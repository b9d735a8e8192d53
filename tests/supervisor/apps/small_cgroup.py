"""As if the kernel granted all processes together no more than 8 MB; to be imported before jobd starts."""

from jobd.supervisor import memory

memory.cgroup_limit = lambda: 8 << 20
