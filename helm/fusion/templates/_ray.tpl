{{/* How Ray is started: for `ray start` and for KubeRay's rayStartParams alike. */}}

{{/*
Ports are fixed, and workers' ones stay below ours. Our actors take no CPUs, and each CPU that Ray
counts is a process that it starts ahead, so it counts one; no objects travel through its store.
*/}}
{{- define "fusion.rayParameters" -}}
node-ip-address: "$(POD_IP)"
node-manager-port: "6380"
object-manager-port: "6381"
min-worker-port: "10002"
max-worker-port: "10999"
num-cpus: "1"
object-store-memory: "83886080"
{{- end }}

{{- define "fusion.rayHeadParameters" -}}
{{ include "fusion.rayParameters" . }}
port: "6379"
include-dashboard: "false"
{{- end }}

{{/* Parameters as a YAML map: the arguments of `ray start`. */}}
{{- define "fusion.rayArguments" -}}
{{- range $name, $value := fromYaml . }}
- --{{ $name }}={{ $value }}
{{- end }}
- --block
{{- end }}

{{/* Probes of a Ray container; the port is one that lives as long as Ray does. */}}
{{- define "fusion.rayProbes" -}}
startupProbe:
  tcpSocket: {port: {{ . }}}
  periodSeconds: 5
  failureThreshold: 60
readinessProbe:
  tcpSocket: {port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  tcpSocket: {port: {{ . }}}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{- define "fusion.rayContainer" -}}
{{ include "fusion.container" . }}
env: {{- include "fusion.env" . | nindent 2 }}
volumeMounts: {{- include "fusion.mounts" . | nindent 2 }}
{{- end }}
