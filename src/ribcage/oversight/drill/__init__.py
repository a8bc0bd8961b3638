"""The drill: attacks by strangers' scripts against this archive, each with its control on an open one."""
