{{/* The pod of the head: Ray, the launcher, and the page of metrics. */}}

{{/*
Launcher and Ray share the process namespace, as they would share a machine: the launcher knows
processes by their pids. A launcher that is only slow is left alone (experiments hang and kill the
VRM on purpose): it has no liveness probe, and ends by itself where it failed.
*/}}
{{- define "fusion.headPod" -}}
{{- $nodes := add1 .Values.workers.replicas -}}
metadata: {{- include "fusion.podMetadata" (list . "head") | nindent 2 }}
spec:
  {{- include "fusion.podSpec" . | nindent 2 }}
  shareProcessNamespace: true
  containers:
    - name: ray
      {{- include "fusion.rayContainer" . | nindent 6 }}
      {{- if not (include "fusion.kuberay" .) }}
      command: [ray, start, --head]
      args: {{- include "fusion.rayArguments" (include "fusion.rayHeadParameters" .) | nindent 8 }}
      {{- end }}
      ports:
        - {name: gcs, containerPort: 6379}
        - {name: vrm, containerPort: {{ include "fusion.vrmPort" . }}}
      {{- include "fusion.rayProbes" 6379 | nindent 6 }}
      resources: {{- toYaml .Values.head.resources | nindent 8 }}
    - name: launcher
      {{- include "fusion.container" . | nindent 6 }}
      command: [python, /etc/fusion/launch/launch.py]
      args:
        - --nodes={{ $nodes }}
        - --ray-address=$(POD_IP):6379
        - /etc/fusion/launch/datacenter.yaml
      env: {{- include "fusion.env" . | nindent 8 }}
      volumeMounts:
        {{- include "fusion.mounts" . | nindent 8 }}
        - {name: launch, mountPath: /etc/fusion/launch, readOnly: true}
      readinessProbe:
        exec: {command: [fusion, status, --datacenter, {{ include "fusion.datacenterName" . | quote }}, --json]}
        periodSeconds: 10
        timeoutSeconds: 8
      resources: {{- toYaml .Values.launcher.resources | nindent 8 }}
    {{- if .Values.monitoring.enabled }}
    {{- include "fusion.metricsContainer" . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "fusion.volumes" . | nindent 4 }}
    - {name: launch, configMap: {name: {{ include "fusion.name" . }}-launch}}
    {{- if .Values.monitoring.enabled }}
    - {name: relay, configMap: {name: {{ include "fusion.name" . }}-relay}}
    {{- end }}
{{- end }}

{{- define "fusion.metricsContainer" -}}
- name: metrics
  {{- include "fusion.container" . | nindent 2 }}
  command: [python, /etc/fusion/relay/relay.py]
  args:
    - --discovery=http://127.0.0.1:{{ include "fusion.vrmMetricsPort" . }}/discovery
    - --job=fusion-{{ include "fusion.datacenterName" . }}
    - --listen=$(POD_IP):9464
    {{- if not (include "fusion.prometheusOperator" .) }}
    - --plain
    {{- end }}
  env: {{- include "fusion.env" . | nindent 4 }}
  ports:
    - {name: metrics, containerPort: 9464}
  volumeMounts:
    - {name: tls, mountPath: /etc/fusion/tls, readOnly: true}
    - {name: relay, mountPath: /etc/fusion/relay, readOnly: true}
  readinessProbe:
    tcpSocket: {port: metrics}
  livenessProbe:
    tcpSocket: {port: metrics}
    failureThreshold: 6
  resources: {{- toYaml .Values.monitoring.resources | nindent 4 }}
{{- end }}
