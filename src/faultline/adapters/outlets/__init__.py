"""The places where people hear of an incident: one file each; the contract is `ports.Outlet`."""
